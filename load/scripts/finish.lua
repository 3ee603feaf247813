-- The end of every wrk script: adds up the threads' wrong replies and prints the figures.

local finish = {}

-- Defines wrk's setup() and done().
function finish.install()
    local threads = {}

    function setup(thread)
        threads[#threads + 1] = thread
    end

    function done(summary, latency)
        local wrongs = 0
        for _, thread in ipairs(threads) do
            wrongs = wrongs + (thread:get "wrong" or 0)
        end
        -- wrk itself counts the statuses above 399, which is all there is when a script does not look at replies.
        local errors = summary.errors
        wrongs = math.max(wrongs, errors.status)
        print(("wrong: %d"):format(wrongs))
        print(("result requests=%d duration_us=%d p50_us=%d p99_us=%d p999_us=%d errors=%d wrong=%d"):format(
            summary.requests, summary.duration,
            latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
            errors.connect + errors.read + errors.write + errors.timeout, wrongs))
    end
end

return finish
