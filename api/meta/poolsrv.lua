---@meta
-- What an app sees, for the Lua language server: name this folder in its workspace.library. Never run.
-- docs/LUA_API.md tells what each of these does.

-- --- the request ---

---@class poolsrv.context
---@field method string "GET"
---@field path string decoded, without the query
---@field target string as it came, query included
---@field ip string? the client's address; nil on a Unix socket
---@field id string the request id
---@field scheme string "http", or "https" where a trusted proxy says so
---@field host string? the host that was asked for, with its port if it was given
---@field [any] any fields of the app's own: they end with the request
local context = {}

---One header, in any spelling. Repeated ones are joined.
---@param name string
---@return string?
function context:header(name) end

---All headers, by name in lower case.
---@return table<string, string>
function context:headers() end

---Name to value, decoded; the first value of a name. `?flag` is "".
---@return table<string, string>
function context:query() end

---`all[i]` is `{name, value}`, `all[name]` the list of a name's values.
---@return table
function context:query_all() end

---The parameters of the path, decoded.
---@return table<string, string>
function context:params() end

---The bytes, "" if there is no body.
---@return string
function context:body() end

---The body as a value. Raises a 400 or a 415, which are the reply if nobody catches them.
---@return any
function context:json() end

---@return table<string, string>
function context:cookies() end

-- --- replies ---

---@class poolsrv.reply
local reply = {}

---@class poolsrv.cookie_options
---@field path? string
---@field domain? string
---@field max_age? integer seconds; 0 deletes the cookie
---@field expires? integer seconds since 1970
---@field secure? boolean
---@field http_only? boolean
---@field same_site? "lax"|"strict"|"none"
---@field partitioned? boolean

---Sets the status and returns the reply; without one, returns the status.
---@param status integer
---@return poolsrv.reply
---@overload fun(self: poolsrv.reply): integer
function reply:status(status) end

---Replaces a header; Set-Cookie is added.
---@param name string
---@param value string
---@return poolsrv.reply
function reply:header(name, value) end

---@param name string
---@param value string
---@param options? poolsrv.cookie_options
---@return poolsrv.reply
function reply:cookie(name, value, options) end

-- --- routes ---

---@alias poolsrv.handler fun(ctx: poolsrv.context): any, integer?

---What a request may take; 0 is no limit.
---@class poolsrv.limits
---@field cpu? number seconds of processor time
---@field wall? number seconds from the whole request to the handler's end
---@field memory? integer|string bytes that a run may add to its VM, or "64m"

---A segment of a path. Assigning a function to a method or a hook defines it.
---@class poolsrv.node
---@field get poolsrv.handler
---@field post poolsrv.handler
---@field put poolsrv.handler
---@field patch poolsrv.handler
---@field delete poolsrv.handler
---@field head poolsrv.handler
---@field options poolsrv.handler
---@field before poolsrv.handler
---@field after fun(ctx: poolsrv.context, reply: poolsrv.reply): any, integer?
---@field on_error fun(ctx: poolsrv.context, err: any, traceback: string): any, integer?
---@field limits poolsrv.limits for this path and those below it
---@field [string] poolsrv.node

---@class poolsrv.api.json: poolsrv.node
---@overload fun(value: any, status?: integer): poolsrv.reply

---@class poolsrv.api.text: poolsrv.node
---@overload fun(text: string, status?: integer): poolsrv.reply

---@class poolsrv.api.html: poolsrv.node
---@overload fun(text: string, status?: integer): poolsrv.reply

---@class poolsrv.api.redirect: poolsrv.node
---@overload fun(url: string, status?: integer): poolsrv.reply

---@class poolsrv.api.error: poolsrv.node
---@overload fun(status: integer, message?: string, fields?: table): poolsrv.reply

---@class poolsrv.api.status: poolsrv.node
---@overload fun(status: integer): poolsrv.reply

---@class poolsrv.api.heavy: poolsrv.node
---@overload fun(fn: poolsrv.handler): poolsrv.handler

---@class poolsrv.api.route: poolsrv.node
---@overload fun(method: string, pattern: string, fn: poolsrv.handler)

---@class poolsrv.api.config: poolsrv.node
---@overload fun(options: table<string, string|number|boolean>)

---@class poolsrv.api.on_start: poolsrv.node
---@overload fun(fn: fun(), options?: { each: "process"|"vm" })

---@class poolsrv.api.on_stop: poolsrv.node
---@overload fun(fn: fun(), options?: { each: "process"|"vm" })

---@class poolsrv.api: poolsrv.node
---@field json poolsrv.api.json
---@field text poolsrv.api.text
---@field html poolsrv.api.html
---@field redirect poolsrv.api.redirect
---@field error poolsrv.api.error
---@field status poolsrv.api.status
---@field heavy poolsrv.api.heavy
---@field route poolsrv.api.route
---@field config poolsrv.api.config
---@field on_start poolsrv.api.on_start
---@field on_stop poolsrv.api.on_stop
api = {}

-- --- the other globals ---

---@class poolsrv.json
---@field null lightuserdata null, both ways
---@field empty_array lightuserdata always []
---@field array_mt table the metatable of decoded arrays
json = {}

---Raises, naming the place, for what JSON cannot hold.
---@param value any
---@return string
function json.encode(value) end

---Raises for what is no JSON.
---@param text string
---@return any
function json.decode(text) end

---Marks the table, or a new one, as an array: [] when it is empty.
---@param t? table
---@return table
function json.array(t) end

---Waits without holding the thread.
---@param seconds number
function sleep(seconds) end

-- --- require "poolsrv.shared" ---

---@class poolsrv.shared.change
---@field ttl? number seconds after which the value ends

---@class poolsrv.shared.count: poolsrv.shared.change
---@field init? number what is added to where nothing is, 0 by default

---A dictionary that all threads of the server share.
---@class poolsrv.shared.dict
local dict = {}

---@param key string|integer
---@return any value nil: absent
function dict:get(key) end

---@param key string|integer
---@return any value nil: absent
---@return integer version for cas; 0: absent
function dict:get_versioned(key) end

---Nil removes.
---@param key string|integer
---@param value any what JSON can hold
---@param options? poolsrv.shared.change|number
function dict:set(key, value, options) end

---Stores if nothing is there.
---@param key string|integer
---@param value any
---@param options? poolsrv.shared.change|number
---@return boolean stored
function dict:add(key, value, options) end

---Stores if something is there.
---@param key string|integer
---@param value any
---@param options? poolsrv.shared.change|number
---@return boolean stored
function dict:replace(key, value, options) end

---Stores, or with nil removes, if the version is still that. Without a ttl the end stays.
---@param key string|integer
---@param version integer
---@param value any
---@param options? poolsrv.shared.change|number
---@return boolean stored
function dict:cas(key, version, value, options) end

---@param key string|integer
---@param by? number 1 by default
---@param options? poolsrv.shared.count|number
---@return number sum
function dict:incr(key, by, options) end

---Stores what fn makes of the value; asks it again if others changed it meanwhile.
---@param key string|integer
---@param fn fun(old: any): any
---@param options? poolsrv.shared.change|number
---@return any new
function dict:update(key, fn, options) end

---@param key string|integer
---@return boolean was_there
function dict:delete(key) end

---@param key string|integer
---@param ttl? number seconds from now; none: no end
---@return boolean was_there
function dict:touch(key, ttl) end

---@param key string|integer
---@return number? seconds until it ends; math.huge: it does not; nil: absent
function dict:ttl(key) end

---@param max? integer 1000 by default
---@return string[]
function dict:keys(max) end

function dict:flush() end

---@return { bytes: integer, max_bytes: integer, entries: integer, hits: integer, misses: integer, evictions: integer, expirations: integer }
function dict:stats() end

---A lock by name. `local lock <close> = ...` releases it at the end of the block.
---While the app loads: fn is called in every VM, a moment after a change. "flush": anything may have changed.
---@param fn fun(key: string?, event: "set"|"touch"|"delete"|"expire"|"evict"|"flush", version: integer)
function dict:on_change(fn) end

---@class poolsrv.shared.lock
---@field name string
---@field token integer greater with every acquisition of that name
local lock = {}

---@return boolean was_held false: its time was over
function lock:unlock() end

---@param ttl? number seconds from now
---@return boolean is_held
function lock:extend(ttl) end

---@class poolsrv.shared
local shared = {}

---While the app loads.
---@param name string
---@param options? { max_bytes?: integer|string, persist?: string, store?: string }
---@return poolsrv.shared.dict
function shared.dict(name, options) end

---@param name string
---@param options? { ttl?: number, wait?: number, store?: string } seconds; 30 and 0 by default
---@return poolsrv.shared.lock? lock
---@return string? why "locked"
function shared.lock(name, options) end

-- --- require "poolsrv.queue" ---

---@class poolsrv.queue.push_common
---@field delay? number|string not before so long: seconds, or "5m"
---@field priority? integer 0 to 9, the higher the sooner; 0 by default
---@field window? number|string for how long an id is known; an hour by default
---@field wait? number|string for room in a full queue; 0 by default

---@class poolsrv.queue.push_options: poolsrv.queue.push_common
---@field id? string pushed once within the window

---@class poolsrv.queue.push_all_options: poolsrv.queue.push_common
---@field ids? string[] as many as there are messages

---@class poolsrv.queue.consume_options
---@field concurrency? integer jobs at a time in this process; 1 by default
---@field batch? integer the function is given lists of up to so many
---@field retries? integer after the first try; 5 by default
---@field backoff? "exponential"|"linear"|"constant"
---@field delay? number|string before the first retry; 1 s by default
---@field max_delay? number|string between two tries at most; an hour by default
---@field timeout? number|string of a job; 60 s by default, 0 for no limit
---@field lease? number|string after which others get what a dead process held; 30 s by default
---@field dead_letter? string|false the queue for what has failed for good; NAME.dead by default

---@class poolsrv.queue.stats
---@field queue string
---@field ready integer
---@field delayed integer
---@field taken integer
---@field oldest number for how many seconds the oldest ready one has been so; 0: there is none

---@class poolsrv.queue.peeked
---@field id string
---@field body any
---@field state "ready"|"delayed"|"taken"
---@field attempts integer
---@field priority integer
---@field enqueued_at number seconds since 1970
---@field due_at number
---@field error string? what ended the last attempt
---@field from string? of a dead letter: its queue
---@field progress number?

---What a consumer is told of a message.
---@class poolsrv.job
---@field id string
---@field attempt integer from 1 on
---@field enqueued_at number seconds since 1970
---@field priority integer
---@field from string? of a dead letter: its queue
local job = {}

---It may go on for so long from now.
---@param seconds number
function job:extend(seconds) end

---A number that peek shows.
---@param n number
function job:progress(n) end

---@class poolsrv.queue
local queue = {}

---Raises an error with a `code` if it is not taken.
---@param name string
---@param message any what JSON can hold
---@param options? poolsrv.queue.push_options
---@return string id
---@return boolean duplicate it was pushed before
function queue.push(name, message, options) end

---@param name string
---@param message any
---@param options? poolsrv.queue.push_options
---@return string? id nil: it was not taken
---@return boolean|string duplicate or why it was not
---@return string? code "full", "no_space", "io", "unavailable", "stopping" or "failed"
function queue.try_push(name, message, options) end

---@param name string
---@param messages any[]
---@param options? poolsrv.queue.push_all_options
---@return string[] ids
---@return integer duplicates
function queue.push_all(name, messages, options) end

---While the app loads.
---@param name string
---@param options poolsrv.queue.consume_options
---@param fn fun(message: any, job: poolsrv.job)
---@overload fun(name: string, fn: fun(message: any, job: poolsrv.job))
function queue.consume(name, options, fn) end

---@param name string
---@return poolsrv.queue.stats
---@overload fun(): poolsrv.queue.stats[]
function queue.stats(name) end

---@param name string
---@param n? integer 10 by default
---@return poolsrv.queue.peeked[]
function queue.peek(name, n) end

---Dead letters go back to their queue, delayed messages become ready.
---@param name string
---@param id? string all of them by default
---@return integer count
function queue.retry(name, id) end

---All but what a consumer holds is gone.
---@param name string
---@return integer count
function queue.purge(name) end

-- --- require "poolsrv.task" ---

---@class poolsrv.task.entry
---@field name? string by which servers that share a queue know it as the same
---@field missed? "skip"|"once" at the start; "skip" by default
---@field overlap? boolean
---@field timeout? number|string an hour by default, 0 for no limit

---@class poolsrv.task.calendar: poolsrv.task.entry
---@field zone? string "Europe/Berlin"; "UTC" by default

---@class poolsrv.task
local task = {}

---Runs fn(...) in this VM, after what runs now.
---@param fn function
---@param ... any
---@overload fun(limits: poolsrv.limits, fn: function, ...: any)
function task.spawn(fn, ...) end

---Has a module's function called in another VM and waits for its results.
---@param name string "module.function"
---@param ... any what JSON can hold
---@return any ...
function task.run(name, ...) end

---Calls it for each element, on all VMs at once.
---@param name string "module.function"
---@param list any[]
---@return any[] results
function task.map(name, list) end

---While the app loads.
---@param interval number|string seconds, or "5m"
---@param fn fun(moment: number)
---@param options? poolsrv.task.entry
function task.every(interval, fn, options) end

---While the app loads.
---@param cron string "0 3 * * *" or "@daily"
---@param fn fun(moment: number)
---@param options? poolsrv.task.calendar
function task.at(cron, fn, options) end

---@return boolean ending the server has begun to stop
function task.stopping() end

-- --- require "poolsrv.pubsub" ---

---@class poolsrv.pubsub
local pubsub = {}

---While the app loads; fn is called in each VM.
---@param channel string
---@param fn fun(message: any, channel: string)
function pubsub.subscribe(channel, fn) end

---@param channel string
---@param message any what JSON can hold
function pubsub.publish(channel, message) end
