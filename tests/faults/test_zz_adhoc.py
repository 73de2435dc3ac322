import time
from tests.faults.harness import *
async def test_time(gateway, upstream):
    tok = await gateway.add_token(cache_enabled=False)
    for form in ("plain","streamed"):
      for t in (None, tok):
        ts=[]
        for n in range(30):
            s=time.perf_counter(); await gateway.ask(asked(f"q{n} {form} {t}", form), token=t); ts.append((time.perf_counter()-s)*1000)
        ts.sort(); print("T", form, bool(t), round(ts[0],1), round(ts[15],1), round(ts[-1],1))
    ts=[]
    for n in range(30):
        s=time.perf_counter(); await gateway.ask(asked(f"q{n} plain None", "streamed")); ts.append((time.perf_counter()-s)*1000)
    ts.sort(); print("T hit", round(ts[0],1), round(ts[15],1), round(ts[-1],1))
