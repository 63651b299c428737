/// Messages on their way: between PUBLISH and the subscriber's turn its client may have gone on.
import KVStore
import RESPCodec
import Synchronization
import Testing

@Suite struct ChannelTests {
    private final class Inbox: Sendable {
        let messages = Mutex<[Delivery]>([])
    }

    /// A client, what was delivered to it, and what it is then sent.
    private func subscriber() -> (client: Dialogue, inbox: Inbox) {
        let (client, inbox) = (Dialogue(), Inbox())
        client.session.deliver = { message, subscription in
            inbox.messages.withLock { $0.append((message, subscription)) }
        }
        return (client, inbox)
    }

    private func sent(_ client: Dialogue, _ inbox: Inbox) -> String {
        client.write(inbox.messages.withLock { $0 })
    }

    @Test func aMessageThatComesAfterTheEndOfASubscriptionIsDropped() {
        let (client, inbox) = subscriber()
        let other = Dialogue(client.database)
        #expect(client.ask("SUBSCRIBE a b") == "*3|$9|subscribe|$1|a|:1|*3|$9|subscribe|$1|b|:2|")
        #expect(other.ask("PUBLISH a x") == ":1|")
        #expect(other.ask("PUBLISH b y") == ":1|")
        #expect(client.ask("UNSUBSCRIBE a") == "*3|$11|unsubscribe|$1|a|:1|")
        #expect(sent(client, inbox) == "*3|$7|message|$1|b|$1|y|")
    }

    @Test func aMessageToAnEarlierSubscriptionIsDropped() {
        let (client, inbox) = subscriber()
        let other = Dialogue(client.database)
        #expect(client.ask("SUBSCRIBE a") == "*3|$9|subscribe|$1|a|:1|")
        #expect(other.ask("PUBLISH a early") == ":1|")
        #expect(client.ask("UNSUBSCRIBE a") == "*3|$11|unsubscribe|$1|a|:0|")
        #expect(client.ask("SUBSCRIBE a") == "*3|$9|subscribe|$1|a|:1|")
        #expect(other.ask("PUBLISH a late") == ":1|")
        // Once more is no new subscription.
        #expect(client.ask("SUBSCRIBE a") == "*3|$9|subscribe|$1|a|:1|")
        #expect(sent(client, inbox) == "*3|$7|message|$1|a|$4|late|")
    }

    @Test func aMessageIsEncodedAsTheClientThenSpeaks() {
        let (client, inbox) = subscriber()
        let other = Dialogue(client.database)
        #expect(client.ask("HELLO 3").hasPrefix("%7|"))
        #expect(client.ask("SUBSCRIBE a") == ">3|$9|subscribe|$1|a|:1|")
        #expect(other.ask("PUBLISH a x") == ":1|")
        #expect(sent(client, inbox) == ">3|$7|message|$1|a|$1|x|")
        #expect(client.ask("HELLO 2").hasPrefix("*14|"))
        #expect(sent(client, inbox) == "*3|$7|message|$1|a|$1|x|")
    }
}
