-- ARGV: place, '1' when its job has ended, '1' when its webhook is owed.
local place = ARGV[1]
if ARGV[3] == '1' then redis.call('ZADD', OUTBOX, 'NX', text(now_ms()), job_of(place)) end
unready(place)
unlease(place)
redis.call('ZREM', LATER, place)
if ARGV[2] == '1' then redis.call('ZREM', OPEN, tenant_of(place) .. '/' .. job_of(place)) end
