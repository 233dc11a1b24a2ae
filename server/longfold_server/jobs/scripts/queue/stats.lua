-- Returns {jobs that wait, jobs that are worked on, ms that the oldest has waited, webhooks owed}.
local oldest, waited = redis.call('ZRANGE', WAITING, 0, 0, 'WITHSCORES')[2], 0
if oldest then waited = math.max(0, now_ms() - tonumber(oldest)) end
local waiting = redis.call('ZCARD', READY) + redis.call('ZCARD', LATER)
return {waiting, redis.call('ZCARD', LEASES), text(waited), redis.call('ZCARD', OUTBOX)}
