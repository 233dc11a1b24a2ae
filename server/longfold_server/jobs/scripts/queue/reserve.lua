-- ARGV: job, tenant, 9 - priority, most unfinished jobs of the tenant ('' for any number), reservation ms.
-- Takes a place before the job is made: when nobody follows up, a worker looks there after the reservation.
-- Returns {place, now}, or {} when the tenant has its fill.
local now, member = now_ms(), ARGV[2] .. '/' .. ARGV[1]
if ARGV[4] ~= '' and not redis.call('ZSCORE', OPEN, member) and count(OPEN, ARGV[2]) >= tonumber(ARGV[4]) then
  return {}
end
local place = string.format('%s/%s/%015.0f/%s', ARGV[2], ARGV[3], now, ARGV[1])
redis.call('ZADD', OPEN, 0, member)
redis.call('ZADD', LATER, text(now + tonumber(ARGV[5])), place)
return {place, text(now)}
