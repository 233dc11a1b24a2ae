-- ARGV: body hash, tenant, place in the queue, when it was reserved (ms), how long it can be used (ms), event data, then
-- pairs of fields of the hash.
-- Returns {'made'}; {'late'} when the place may be gone, nothing was made; when the job is there already, 'known' of the
-- same request or 'mismatch' of another, and its status, its place, and whether a webhook is owed.
local known = redis.call('HMGET', JOB, 'body', 'tenant', 'status', 'place')
if known[1] then
  local same = known[1] == ARGV[1] and known[2] == ARGV[2]
  return {same and 'known' or 'mismatch', known[3], known[4], owed()}
end
local now = now_ms()
if now > tonumber(ARGV[4]) + tonumber(ARGV[5]) then return {'late'} end
redis.call('HSET', JOB, 'body', ARGV[1], 'tenant', ARGV[2], 'place', ARGV[3], 'status', 'queued', 'created', text(now),
  'token', '', 'lease_until', 0, 'gen', 0, 'seq', 0, 'takeovers', 0, 'failures', 0, 'stalls', 0, unpack(ARGV, 7))
emit('created', ARGV[6])
return {'made'}
