-- ARGV: token, retention ms, failure ('1' counts one), most failures, error of a poisoned job.
-- Gives the job back, or ends it. Returns {'released'}, {'failed', webhook owed}, {'cancelled', webhook owed} or {'lost'}.
local held = redis.call('HMGET', JOB, 'token', 'status', 'left_by', 'cancel', 'ended_by')
if held[5] == ARGV[1] then return {held[2], owed()} end
if held[2] == 'queued' and held[3] == ARGV[1] then return {'released'} end
if held[1] ~= ARGV[1] then return {'lost'} end
if held[4] then
  finish('cancelled', '', '', ARGV[2], ARGV[1])
  return {'cancelled', owed()}
end
if ARGV[3] == '1' and redis.call('HINCRBY', JOB, 'failures', 1) >= tonumber(ARGV[4]) then
  finish('failed', 'error', ARGV[5], ARGV[2], ARGV[1])
  return {'failed', owed()}
end
redis.call('HSET', JOB, 'status', 'queued', 'token', '', 'left_by', ARGV[1], 'lease_until', 0)
return {'released'}
