-- ARGV: token, lease ms. Returns 'ok', 'cancel' or 'lost'.
if redis.call('HGET', JOB, 'token') ~= ARGV[1] then return 'lost' end
redis.call('HSET', JOB, 'lease_until', text(now_ms() + tonumber(ARGV[2])))
if redis.call('HGET', JOB, 'cancel') then return 'cancel' end
return 'ok'
