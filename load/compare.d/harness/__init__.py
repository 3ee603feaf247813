"""What load/compare does with the servers in the folders beside this one.

cases      what is asked, and what must come back       schedule   in which order, and how long it takes
server     what a server's folder must say              measure    one timed run
tools      programs: built, installed, found            results    runs into medians with intervals
instance   one server process, with its CPU and memory  report     tables, for people and for Markdown
check      replies by value, before anything is timed   figures    charts
calibrate  how many turns are 20 ms of CPU              goals      which of poolsrv's are reached
clients    the load clients' command lines              session    all of it, from start to end
options    the command line                             program    the script's own order of things
interrupts SIGINT and SIGTERM
"""
