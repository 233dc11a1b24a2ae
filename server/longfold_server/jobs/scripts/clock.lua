-- Shared by every script. Time is that of the slot's own Redis, never a worker's.
-- In every script the writes that a full Redis refuses come before those that it never does, so that a refused script
-- has changed nothing.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function text(number)
  return string.format('%.0f', number)
end
