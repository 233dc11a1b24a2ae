-- ARGV: key prefix, fresh token, worker's name, lease ms, retention ms, most stalled takeovers, error of a stalled job.
-- Takes a job whose lease ran out, else the oldest ready one. The keys of the job taken follow from its name.
-- Returns {job, now, list of the hash} or an empty list when there is nothing to do.
local limit = tonumber(ARGV[6])
for _ = 1, 100 do
  local now = now_ms()
  local takeover = true
  local job = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', text(now), 'LIMIT', 0, 1)[1]
  if not job then
    takeover = false
    job = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', text(now), 'LIMIT', 0, 1)[1]
    if not job then return {} end
  end
  redis.call('ZREM', KEYS[3], job)
  redis.call('ZREM', KEYS[4], job)
  local job_key = ARGV[1] .. ':{' .. job .. '}:job'
  local events_key = ARGV[1] .. ':{' .. job .. '}:events'
  local status = redis.call('HGET', job_key, 'status')
  if status == 'queued' or status == 'in_progress' then
    local gen = redis.call('HGET', job_key, 'gen')
    local stalls = 0
    if takeover then
      redis.call('HINCRBY', job_key, 'takeovers', 1)
      if redis.call('HGET', job_key, 'claimed_gen') == gen then stalls = redis.call('HINCRBY', job_key, 'stalls', 1) end
    end
    if stalls == 0 then redis.call('HSET', job_key, 'stalls', 0) end
    if redis.call('HGET', job_key, 'cancel') then
      finish(job_key, events_key, KEYS[3], KEYS[4], job, 'cancelled', '', '', ARGV[5])
    elseif stalls >= limit then
      finish(job_key, events_key, KEYS[3], KEYS[4], job, 'failed', 'error', ARGV[7], ARGV[5])
    else
      redis.call('HSET', job_key, 'status', 'in_progress', 'token', ARGV[2], 'worker', ARGV[3], 'claimed_gen', gen, 'last', '')
      redis.call('HSETNX', job_key, 'started', text(now))
      redis.call('ZADD', KEYS[4], text(now + tonumber(ARGV[4])), job)
      return {job, text(now), takeover and 1 or 0, redis.call('HGETALL', job_key)}
    end
  end
end
return {}
