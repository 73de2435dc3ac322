import time
from tests.crash.test_database_away import service, fresh, chat, CHAT, pytestmark, until
def test_dbg(service, provider):
    print("A", service.ask("stored").status_code)
    service.proxy.freeze()
    def timed(name, f):
        t=time.monotonic(); r=f(); print(name, r.status_code, round(time.monotonic()-t,2), r.text[:150])
    timed("fresh", lambda: service.ask(fresh()))
    timed("stored", lambda: service.ask("stored"))
    timed("fresh", lambda: service.ask(fresh()))
    timed("ready", lambda: service.client.get("/readyz"))
    timed("admin", lambda: service.client.get("/api/v1/users", headers=service.admin.headers))
    t=time.monotonic(); service.proxy.heal(); until(lambda: service.status("/readyz")==200, 40); print("healed", time.monotonic()-t)
