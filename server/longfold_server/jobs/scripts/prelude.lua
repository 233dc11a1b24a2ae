-- Shared by every script. Time is Redis's own, never a worker's.
-- KEYS of all scripts: 1 job hash, 2 job events, 3 ready set, 4 leases set.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function text(number)
  return string.format('%.0f', number)
end

-- Appends an event: its stream id is its sequence number, so numbers have no gaps and cannot repeat.
local function emit(job_key, events_key, kind, data)
  local seq = redis.call('HINCRBY', job_key, 'seq', 1)
  redis.call('XADD', events_key, text(seq) .. '-0', 't', kind, 'at', text(now_ms()), 'd', data)
  redis.call('PUBLISH', events_key, seq)
  return seq
end

-- Ends a job for good: status, final event, no lease, no place in the queue, and the clock of its retention starts.
local function finish(job_key, events_key, ready_key, leases_key, job, status, field, value, retention_ms)
  redis.call('HSET', job_key, 'status', status, 'token', '', 'finished', text(now_ms()))
  if field ~= '' then redis.call('HSET', job_key, field, value) end
  redis.call('HDEL', job_key, 'state', 'setup')
  redis.call('ZREM', ready_key, job)
  redis.call('ZREM', leases_key, job)
  local seq = emit(job_key, events_key, status, '{}')
  redis.call('PEXPIRE', job_key, retention_ms)
  redis.call('PEXPIRE', events_key, retention_ms)
  return seq
end
