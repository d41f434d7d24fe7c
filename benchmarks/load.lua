-- wrk's side of the load: no two requests of a run have the same head, and the result is one line of JSON.
-- Arguments: method, path, bytes of body, number of this measurement within the run, how many numbers the star in the
-- path stands for.

local before, after, prefix = {}, {}, nil
local routes
local count = 0

function init(args)
    local body = tonumber(args[3]) > 0 and string.rep("x", tonumber(args[3])) or nil
    -- wrk.headers holds what -H gave; the mark is where each request's own identity goes.
    wrk.headers["traceparent"] = "@@"
    prefix = string.format("00-%016x", tonumber(args[4]))
    routes = tonumber(args[5])
    for number = 0, routes - 1 do
        local whole = wrk.format(args[1], (args[2]:gsub("*", number)), nil, body)
        local at = whole:find("@@", 1, true)
        before[number], after[number] = whole:sub(1, at - 1), "-00f067aa0ba902b7-01" .. whole:sub(at + 2)
    end
end

function request()
    count = count + 1
    return before[count % routes] .. prefix .. string.format("%016x", count) .. after[count % routes]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"requests": %d, "microseconds": %d, "bytes": %d, "p50": %d, "p99": %d, "failures": '
            .. '{"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
        summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
