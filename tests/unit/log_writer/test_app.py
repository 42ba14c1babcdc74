import httpx

from log_writer.app import build_worker
from log_writer.settings import LogWriterSettings
from runtime.kafka.asyncapi import PATH
from runtime.process.worker import build_app


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
        "log-writer:receive:test.run-events": "test.run-events",
        "log-writer:receive:test.schedule-state": "test.schedule-state",
        "log-writer:send:test.dead-letters": "test.dead-letters",
    }
    items = document["components"]["schemas"]["log-writer:receive:Message:Payload"]["items"]["anyOf"]
    assert [each.get("$ref") or each["type"] for each in items] == [
        "#/components/schemas/RunStarted",
        "#/components/schemas/RunFinished",
        "#/components/schemas/JobScheduled",
        "null",
    ]
