-- ARGV: job, signal channel, retention ms. Returns the job's status afterwards, or '' when there is no such job.
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return '' end
if status == 'queued' then
  finish(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], 'cancelled', '', '', ARGV[3])
  return 'cancelled'
end
if status == 'in_progress' then
  redis.call('HSET', KEYS[1], 'cancel', 1)
  redis.call('PUBLISH', ARGV[2], 'cancel ' .. ARGV[1])
end
return status
