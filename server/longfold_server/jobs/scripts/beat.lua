-- ARGV: job, token, lease ms. Returns 'ok', 'cancel' or 'lost'.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then return 'lost' end
redis.call('ZADD', KEYS[4], text(now_ms() + tonumber(ARGV[3])), ARGV[1])
if redis.call('HGET', KEYS[1], 'cancel') then return 'cancel' end
return 'ok'
