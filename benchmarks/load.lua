-- wrk's side of the load: no two requests of a run have the same head, and the result is one line of JSON.
-- Arguments: method, path, bytes of body, number of this measurement within the run.

local before, after, prefix
local count = 0

function init(args)
    local body = tonumber(args[3]) > 0 and string.rep("x", tonumber(args[3])) or nil
    -- wrk.headers holds what -H gave; the mark is where each request's own identity goes.
    wrk.headers["traceparent"] = "@@"
    local whole = wrk.format(args[1], args[2], nil, body)
    local at = whole:find("@@", 1, true)
    prefix = string.format("00-%016x", tonumber(args[4]))
    before, after = whole:sub(1, at - 1), "-00f067aa0ba902b7-01" .. whole:sub(at + 2)
end

function request()
    count = count + 1
    return before .. prefix .. string.format("%016x", count) .. after
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"requests": %d, "microseconds": %d, "bytes": %d, "p50": %d, "p99": %d, "failures": '
            .. '{"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
        summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
