-- Shared by the scripts of one job. Its hash alone decides who may write.
local JOB, EVENTS = KEYS[1], KEYS[2]
local ENDED = {completed = true, failed = true, cancelled = true}

-- Appends an event: its stream id is its sequence number, so numbers have no gaps and cannot repeat.
local function emit(kind, data)
  local seq = redis.call('HINCRBY', JOB, 'seq', 1)
  redis.call('XADD', EVENTS, text(seq) .. '-0', 't', kind, 'at', text(now_ms()), 'd', data)
  redis.call('PUBLISH', EVENTS, seq)
  return seq
end

-- 1 while somebody has still to be told of the job's end.
local function owed()
  return redis.call('HGET', JOB, 'outbox') == 'pending' and 1 or 0
end

-- Ends the job for good: status, final event, no owner; the clock of its retention starts. `by` is the token of the
-- worker that ends it, so that it may say so twice.
local function finish(status, field, value, retention_ms, by)
  redis.call('HSET', JOB, 'status', status, 'token', '', 'ended_by', by, 'finished', text(now_ms()))
  if field ~= '' then redis.call('HSET', JOB, field, value) end
  if redis.call('HEXISTS', JOB, 'webhook') == 1 then redis.call('HSET', JOB, 'outbox', 'pending') end
  redis.call('HDEL', JOB, 'state', 'setup', 'credentials')
  emit(status, '{}')
  redis.call('PEXPIRE', JOB, retention_ms)
  redis.call('PEXPIRE', EVENTS, retention_ms)
end
