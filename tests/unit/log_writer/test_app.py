import httpx

from log_writer.app import build_worker
from log_writer.settings import LogWriterSettings
from runtime.kafka.asyncapi import PATH
from runtime.process.worker import build_app
from support.records import a_record
from support.run_histories import a_state


async def test_the_worker_serves_its_asyncapi_document_with_the_subscription_of_its_handlers() -> None:
    settings = LogWriterSettings(
        kafka_bootstrap_servers="nowhere:1", database_url="postgresql://nowhere/x", kafka_topic_prefix="test."
    )
    transport = httpx.ASGITransport(app=build_app(build_worker(settings)))
    async with httpx.AsyncClient(transport=transport, base_url="http://log-writer") as client:
        response = await client.get(PATH)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    document = response.json()
    assert {name: channel["address"] for name, channel in document["channels"].items()} == {
        "log-writer:receive:test.market-lists": "test.market-lists",
        "log-writer:receive:test.run-events": "test.run-events",
        "log-writer:receive:test.schedule-state": "test.schedule-state",
        "log-writer:send:test.dead-letters": "test.dead-letters",
    }
    items = document["components"]["schemas"]["log-writer:receive:Message:Payload"]["items"]["anyOf"]
    assert [each.get("$ref") or each["type"] for each in items] == [
        "#/components/schemas/RunStarted",
        "#/components/schemas/RunFinished",
        "#/components/schemas/JobScheduled",
        "#/components/schemas/MarketsListed",
        "null",
    ]


async def test_the_subscriber_uses_the_parser_and_decoder_of_the_batches() -> None:
    """FastStream's own ones would drop a batch with a bad header, and would give the handler dictionaries."""
    worker = build_worker(LogWriterSettings(kafka_bootstrap_servers="nowhere:1", database_url="postgresql://nowhere/x"))
    (subscriber,) = worker.broker.subscribers
    parse, decode = subscriber._get_parser_and_decoder()
    message = await parse((a_record(headers=(("nothing", None), ("bytes", b"\xff"))),))
    message.body = [a_state()]
    assert await decode(message) == message.body
