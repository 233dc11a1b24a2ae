-- ARGV: job, signal channel, retention ms, '1' to ask for the tenant, tenant.
-- Returns {status afterwards, place, webhook owed}, or {} when there is no such job (of this tenant).
local job = redis.call('HMGET', JOB, 'status', 'place', 'tenant')
local status = job[1]
if not status or (ARGV[4] == '1' and job[3] ~= ARGV[5]) then return {} end
if status == 'queued' then
  finish('cancelled', '', '', ARGV[3], '')
  status = 'cancelled'
elseif status == 'in_progress' then
  redis.call('HSET', JOB, 'cancel', 1)
  redis.call('PUBLISH', ARGV[2], 'cancel ' .. ARGV[1])
end
return {status, job[2], owed()}
