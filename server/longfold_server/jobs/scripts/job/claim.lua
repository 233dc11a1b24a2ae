-- ARGV: place in the queue, fresh token, worker's name, lease ms, retention ms, most stalled takeovers, error of a
-- stalled job.
-- Returns {'ok', now, takeover, list of the hash}; {'held', ms left} when another worker has it; {'ended', webhook owed}
-- when nobody may have it any more, with its status behind it when it was ended by this very look; {'elsewhere'} when the
-- job stands at another place.
local job = redis.call('HMGET', JOB, 'status', 'place', 'token', 'lease_until', 'gen', 'claimed_gen', 'cancel', 'took',
  'ended_by')
local status, now = job[1], now_ms()
if status and job[9] == ARGV[2] then return {'ended', owed(), status} end
if not status or ENDED[status] then return {'ended', owed()} end
if job[2] ~= ARGV[1] then return {'elsewhere'} end
if job[3] == ARGV[2] then return {'ok', text(now), tonumber(job[8]), redis.call('HGETALL', JOB)} end
local takeover = status == 'in_progress'
if takeover and tonumber(job[4]) > now then return {'held', text(tonumber(job[4]) - now)} end
local stalls = 0
if takeover then
  redis.call('HINCRBY', JOB, 'takeovers', 1)
  if job[6] == job[5] then stalls = redis.call('HINCRBY', JOB, 'stalls', 1) end
end
if job[7] then
  finish('cancelled', '', '', ARGV[5], ARGV[2])
  return {'ended', owed(), 'cancelled'}
end
if stalls >= tonumber(ARGV[6]) then
  finish('failed', 'error', ARGV[7], ARGV[5], ARGV[2])
  return {'ended', owed(), 'failed'}
end
if stalls == 0 then redis.call('HSET', JOB, 'stalls', 0) end
redis.call('HSET', JOB, 'status', 'in_progress', 'token', ARGV[2], 'worker', ARGV[3], 'claimed_gen', job[5], 'last', '',
  'lease_until', text(now + tonumber(ARGV[4])), 'took', takeover and 1 or 0)
redis.call('HSETNX', JOB, 'started', text(now))
return {'ok', text(now), takeover and 1 or 0, redis.call('HGETALL', JOB)}
