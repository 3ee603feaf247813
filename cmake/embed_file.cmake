# cmake -DSOURCE=file -DOUTPUT=file.c -DNAME=symbol -P embed_file.cmake
file(READ ${SOURCE} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"api/lua_sources.h\"\n\nconst char ${NAME}[] = {\n${bytes}0x00};\nconst size_t ${NAME}_size = sizeof(${NAME}) - 1;\n")
