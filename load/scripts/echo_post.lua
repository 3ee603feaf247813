-- wrk -t1 -c64 -d10 -s load/scripts/echo_post.lua http://127.0.0.1:8080
dofile((debug.getinfo(1, "S").source:match "^@(.*/)" or "./") .. "check.lua").one "echo_post"
