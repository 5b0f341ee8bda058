-- The texts of `help`, by topic; "" is the first page.

HELP = {
[""] = [[
You are inside the running server. Type Lua; what an expression gives is shown.

  tree()                         what there is
  look("reactor")                one thing: its fields, what is below, what can be done
  list("channels")               all that is below a path, page by page
  channels{state="open"}         connections, filtered
  act("channels/4.1", "close")   do something; look at a path to see what
  close "4.1"                    the same for connections; also pause, resume
  try(30, function() act(...) end)   changes that are undone unless you confirm()
  follow(nil, "GET /x")          log lines as they come, until you cancel
  sessions()                     who else is here

help "channels" explains a topic or anything in the tree; every statement ends by itself when it
has used up its budget, and the server goes on meanwhile.
Topics: act, channels, confirm, follow, libraries, list, look, roles, sessions, try, tree.]],

look = [[
look(PATH) gives one thing of the tree as a table of its fields:
  look("reactor").turns
  look("channels/4.1")
Fields are what they are now; look again to see them change. help "PATH" says what they mean.]],

list = [[
list(PATH, FILTER) gives all things below a path, however many: shown page by page, or walked through:
  for name, node in list("channels") do print(name, node.peer) end
  list("channels"):count()
A filter is a text that some field contains ("127.0.0.1"), a table of fields ({state="open"}), or a
function of the node ({function(n) return n.sent > 1e6 end}, without the braces).
`:all()` gives a table, `:each(f)` calls f(name, node).]],

tree = [[
tree(PATH, DEPTH) shows what is below a path, 2 levels deep unless you say otherwise.]],

act = [[
act(PATH, ACTION, ...) does something and says what was done. What can be done where:
  look("channels/4.1").actions      help "channels/4.1"
It fails with the reason if it cannot be done, or is not for your role (help "roles").]],

channels = [[
channels(FILTER) lists connections of all protocols: list("channels", FILTER).
  channels()                       all, page by page
  channels{peer="10.0.0."}         those of a network
  channels(function(c) return c.idle > 60 end):count()
close "4.1", pause "4.1" and resume "4.1" act on one, or on all of a list: close(channels{peer="10.0.0.7"}).]],

sessions = [[
sessions() lists consoles: who, since when, and the statement that runs.
  act("sessions/2", "cancel")      ends the statement of another session
  act("sessions/2", "close")       ends the session]],

try = [[
try(SECONDS, FUNCTION) makes changes that are undone by themselves unless you confirm() in time, also
when your connection is lost, or the function fails:
  try(60, function() act("logs", "levels", "debug") end)
  confirm()     keeps them            undo()     undoes them now
Only actions that can be undone can be tried; help "PATH" says which.]],

confirm = [[
confirm() keeps the changes of the last try(...); undo() undoes them at once.]],

follow = [[
follow(LOG, TEXT) shows lines of a log as they come; only those that contain the text, if you give
one. Cancel it with ctrl-C. tree("logs") names the logs; follow() and follow(nil, TEXT) follow the one
to which requests are logged.]],

roles = [[
look: see everything, change nothing. operate: also close, pause, reload, and what is plugged in.
all: everything. Each action says in help "PATH" for which role it is. Every statement is written to
the audit trail.]],

libraries = [[
Lua's own string, table, math, utf8 and coroutine; json, base64, hash, time; sleep(SECONDS);
start(f) runs f beside, :wait() waits for it. A statement has 10 seconds of running time, 32 MiB of
memory and 256 KiB of output.]],
}
HELP.undo = HELP.confirm
HELP.close, HELP.pause, HELP.resume = HELP.channels, HELP.channels, HELP.channels
