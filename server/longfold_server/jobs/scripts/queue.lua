-- Shared by the scripts of the queue: hints where work may be. A hint may be late or wrong, the job's hash is asked every
-- time; so whatever is lost here costs a delay and never a job.
--
-- A place is 'tenant/9 - priority/ms since 1970/job'. It never changes while the job lives, and the bytewise order of a
-- tenant's places is the order of its work. A tenant's name has no '/', and '0' is the byte behind '/'.
--
--   OPEN      of 'tenant/job': unfinished jobs and reservations, to be counted by tenant
--   READY     of places, in bytewise order     WAITING   the same by the time since when they wait
--   LATER     of places by due time: a reservation not yet used, or a job that pauses after a failure
--   LEASES    of places by the lease's end     RUNNING   the same in bytewise order, to be counted by tenant
--   TURN      the tenant that was served last
--   OUTBOX    of jobs by the time when their webhook is due; ATTEMPTS how often each was taken
local OPEN, READY, WAITING, LATER, LEASES, RUNNING, TURN, OUTBOX, ATTEMPTS = unpack(KEYS)

local function tenant_of(place)
  return place:match('^[^/]*')
end

local function job_of(place)
  return place:match('[^/]*$')
end

local function count(key, tenant)
  return redis.call('ZLEXCOUNT', key, '[' .. tenant .. '/', '(' .. tenant .. '0')
end

local function make_ready(place, now)
  redis.call('ZADD', READY, 0, place)
  redis.call('ZADD', WAITING, 'NX', text(now), place)
  redis.call('ZREM', LATER, place)
end

local function unlease(place)
  redis.call('ZREM', LEASES, place)
  redis.call('ZREM', RUNNING, place)
end

local function unready(place)
  redis.call('ZREM', READY, place)
  redis.call('ZREM', WAITING, place)
end
