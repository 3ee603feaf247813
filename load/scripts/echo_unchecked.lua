-- GET /echo with no look at the replies but wrk's own at the status, so that wrk is as fast as it can be: for
-- comparisons of servers whose replies were checked beforehand.
dofile((debug.getinfo(1, "S").source:match "^@(.*/)" or "./") .. "finish.lua").install()

wrk.path = "/echo"
