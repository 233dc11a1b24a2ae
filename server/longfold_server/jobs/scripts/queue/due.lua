-- ARGV: lease ms. Takes the webhook that is due first; nobody else gets it while the lease lasts.
-- Returns {job, attempts before}, or {} when none is due.
local now = now_ms()
local job = redis.call('ZRANGEBYSCORE', OUTBOX, '-inf', text(now), 'LIMIT', 0, 1)[1]
if not job then return {} end
redis.call('ZADD', OUTBOX, text(now + tonumber(ARGV[1])), job)
return {job, redis.call('HINCRBY', ATTEMPTS, job, 1) - 1}
