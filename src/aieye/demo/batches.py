"""/v1/batches: files of requests, which are carried out when somebody looks."""

from __future__ import annotations

import orjson

from aieye.demo import chat, completions, embeddings, moderations, responses
from aieye.demo.accounts import Account, Kept
from aieye.demo.answers import CREATED, Json, Outcome, digest
from aieye.demo.calls import Call, Handler, perform, understand
from aieye.demo.errors import ProviderError, invalid
from aieye.demo.params import check_common, parse_object, string

_BATCHED: dict[str, Handler] = {
    "/v1/chat/completions": chat.create,
    "/v1/completions": completions.create,
    "/v1/embeddings": embeddings.create,
    "/v1/moderations": moderations.create,
    "/v1/responses": responses.create,
}


def create(call: Call) -> Outcome:
    """Take a file of requests to one endpoint."""
    required = ("input_file_id", "endpoint", "completion_window")
    asked = {name: string(call.params, name) for name in required}
    if asked["endpoint"] not in _BATCHED:
        raise invalid("endpoint", f"Expected one of {', '.join(_BATCHED)}.")
    _ = call.account.shelves["files"][asked["input_file_id"]]  # 404 if it is not there
    public = call.new_object("batch", "batch_", **asked, status="validating")
    public |= {"expires_at": CREATED + 86_400, "metadata": call.params.get("metadata")}
    public |= {"output_file_id": None, "error_file_id": None, "request_counts": _counts()}
    return call.shelf.put(public["id"], Kept(public)).public


def read(call: Call) -> Outcome:
    """The batch; the first look at a waiting one carries it out, so no clock is involved."""
    batch = call.kept
    if batch.public["status"] == "validating":
        _carry_out(call.account, batch.public)
    return batch.public


def cancel(call: Call) -> Outcome:
    """End a batch at which nobody has looked."""
    public = call.kept.public
    if public["status"] != "validating":
        raise ProviderError(400, f"Cannot cancel a batch with status '{public['status']}'.")
    public |= {"status": "cancelled", "cancelled_at": CREATED}
    return public


def _carry_out(account: Account, public: Json) -> None:
    """Answer each line of the input file, and store the answers as the output file."""
    file = account.shelves["files"].get(public["input_file_id"])
    lines = file.content.splitlines() if file else []
    answers = [_answer_line(account, public["endpoint"], line) for line in lines if line.strip()]
    content = b"".join(orjson.dumps(answer) + b"\n" for answer in answers)
    id_, failed = public["id"], sum(a["response"]["status_code"] >= 400 for a in answers)
    output = account.keep_file(id_, f"{id_}_output.jsonl", "batch_output", content)
    public |= {
        "status": "completed",
        "completed_at": CREATED,
        "output_file_id": output["id"],
        "request_counts": _counts(len(answers), failed),
    }


def _counts(total: int = 0, failed: int = 0) -> Json:
    return {"total": total, "completed": total - failed, "failed": failed}


def _answer_line(account: Account, endpoint: str, line: bytes) -> Json:
    custom_id, status = None, 200
    try:
        task = parse_object(line)
        custom_id, body = task.get("custom_id"), task.get("body")
        if task.get("url") != endpoint or not isinstance(body, dict) or body.get("stream"):
            raise ProviderError(400, f"Expected a plain request to {endpoint}.")
        check_common(body)
        answer = perform(_BATCHED[endpoint], understand(endpoint, account, body))
    except ProviderError as error:
        status, answer = error.status, error.body
    id_ = digest(line)[:24]
    response = {"status_code": status, "request_id": f"req_{id_}", "body": answer}
    return {"id": f"batch_req_{id_}", "custom_id": custom_id, "response": response, "error": None}
