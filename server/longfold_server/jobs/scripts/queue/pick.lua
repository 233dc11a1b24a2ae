-- ARGV: lease ms, most running jobs of a tenant (0 for any number).
-- Leases the place whose lease ran out first, else the first place of the next tenant below its limit.
-- Returns {place}, or {'', ms until a lease or a pause ends (-1 when none does)}.
local now, limit = now_ms(), tonumber(ARGV[2])
for _, due in ipairs(redis.call('ZRANGEBYSCORE', LATER, '-inf', text(now), 'LIMIT', 0, 100)) do
  make_ready(due, now)
end

local function first_behind(tenant)
  local from = tenant and '[' .. tenant .. '0' or '-'
  return redis.call('ZRANGEBYLEX', READY, from, '+', 'LIMIT', 0, 1)[1]
end

local function next_in_turn()
  local tenant, passed = redis.call('GET', TURN), {}
  while true do
    local place = first_behind(tenant) or first_behind(nil)
    if not place then return nil end
    tenant = tenant_of(place)
    if passed[tenant] then return nil end
    if limit == 0 or count(RUNNING, tenant) < limit then return place end
    passed[tenant] = true
  end
end

local place = redis.call('ZRANGEBYSCORE', LEASES, '-inf', text(now), 'LIMIT', 0, 1)[1]
local fresh = not place
if fresh then place = next_in_turn() end
if place then
  redis.call('ZADD', LEASES, text(now + tonumber(ARGV[1])), place)
  redis.call('ZADD', RUNNING, 0, place)
  if fresh then redis.call('SET', TURN, tenant_of(place)) end
  unready(place)
  return {place}
end
local soonest = -1
for _, key in ipairs({LEASES, LATER}) do
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if first then
    local left = math.max(0, tonumber(first) - now)
    if soonest < 0 or left < soonest then soonest = left end
  end
end
return {'', text(soonest)}
