-- The commonest kind of push with an id, so it does without what the others begin with.
-- KEYS: the stream, of the id. ARGV: body, id, window. Returns: 'ok' or 'duplicate'.
if not redis.call('SET', KEYS[2], '', 'PX', ARGV[3], 'NX') then
    return 'duplicate'
end
redis.call('XADD', KEYS[1], '*', 'b', ARGV[1], 'i', ARGV[2])
return 'ok'
