-- The front page, as HTML. All text of users goes through escape(): a title of "<script>" is shown, not run.

local page = {}

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function escape(text)
    return (text:gsub("[&<>\"']", ESCAPES))
end

local FRAME = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Blog</title>
<h1>Blog</h1>
%s
</html>
]]

local ARTICLE = [[
<article>
<h2><a href="/posts/%d">%s</a></h2>
<p>%s, <time>%s</time></p>
<p>%s</p>
</article>]]

function page.front(posts)
    local articles = {}
    for i, post in ipairs(posts) do
        articles[i] = ARTICLE:format(
            post.id, escape(post.title), escape(post.author), post.created_at, escape(post.body))
    end
    return FRAME:format(#articles > 0 and table.concat(articles, "\n") or "<p>Nothing has been written yet.</p>")
end

return page
