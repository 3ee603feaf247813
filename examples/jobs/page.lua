-- The front page, as HTML. All text from outside goes through escape().

local page = {}

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function escape(value)
    return (tostring(value):gsub("[&<>\"']", ESCAPES))
end

local function row(cells)
    local parts = {}
    for i, cell in ipairs(cells) do
        parts[i] = "<td>" .. escape(cell) .. "</td>"
    end
    return "<tr>" .. table.concat(parts) .. "</tr>\n"
end

local function tabled(titles, list, cells_of)
    if #list == 0 then return "<p>none</p>\n" end
    local rows = {}
    for i, value in ipairs(list) do
        rows[i] = row(cells_of(value))
    end
    return ("<table border=1><tr><th>%s</th></tr>\n%s</table>\n"):format(table.concat(titles, "</th><th>"),
        table.concat(rows))
end

local FRAME = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="2">
<title>Jobs</title>
<h1>Queues</h1>
%s<h1>Under way</h1>
%s<h1>Dead letters</h1>
%s<form method="post" action="/retry"><button>try all again</button></form>
<h1>Report</h1>
<pre>%s</pre>
</html>
]]

function page.front(status, report)
    local queues = tabled({ "queue", "ready", "delayed", "taken" }, status.queues, function(one)
        return { one.queue, one.ready, one.delayed, one.taken }
    end)
    local working = tabled({ "queue", "id", "try", "done" }, status.working, function(one)
        return { one.queue, one.id, one.attempts, ("%d %%"):format(math.floor((one.progress or 0) * 100)) }
    end)
    local dead = tabled({ "from", "id", "tries", "error" }, status.dead, function(one)
        return { one.from or "", one.id, one.attempts, one.error or "" }
    end)
    return FRAME:format(queues, working, dead, escape(report))
end

return page
