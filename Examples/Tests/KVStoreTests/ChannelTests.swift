/// Messages on their way: between PUBLISH and the delivery, the subscriber may have sent commands.
import KVStore
import RESPCodec
import Synchronization
import Testing

@Suite struct ChannelTests {
    private final class Inbox: Sendable {
        let messages = Mutex<[Delivery]>([])
    }

    /// Returns a client and the messages that were delivered to it.
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

    @Test("a message that arrives after the end of its subscription is dropped")
    func aMessageThatComesAfterTheEndOfASubscriptionIsDropped() {
        let (client, inbox) = subscriber()
        let other = Dialogue(client.database)
        #expect(client.ask("SUBSCRIBE a b") == "*3|$9|subscribe|$1|a|:1|*3|$9|subscribe|$1|b|:2|")
        #expect(other.ask("PUBLISH a x") == ":1|")
        #expect(other.ask("PUBLISH b y") == ":1|")
        #expect(client.ask("UNSUBSCRIBE a") == "*3|$11|unsubscribe|$1|a|:1|")
        #expect(sent(client, inbox) == "*3|$7|message|$1|b|$1|y|")
    }

    @Test("a message to an earlier subscription is dropped")
    func aMessageToAnEarlierSubscriptionIsDropped() {
        let (client, inbox) = subscriber()
        let other = Dialogue(client.database)
        #expect(client.ask("SUBSCRIBE a") == "*3|$9|subscribe|$1|a|:1|")
        #expect(other.ask("PUBLISH a early") == ":1|")
        #expect(client.ask("UNSUBSCRIBE a") == "*3|$11|unsubscribe|$1|a|:0|")
        #expect(client.ask("SUBSCRIBE a") == "*3|$9|subscribe|$1|a|:1|")
        #expect(other.ask("PUBLISH a late") == ":1|")
        // A repeated SUBSCRIBE is no new subscription.
        #expect(client.ask("SUBSCRIBE a") == "*3|$9|subscribe|$1|a|:1|")
        #expect(sent(client, inbox) == "*3|$7|message|$1|a|$4|late|")
    }

    @Test("subscriptions to patterns and to channels are counted together")
    func patternsAndChannelsAreCountedTogether() {
        let (client, inbox) = subscriber()
        let other = Dialogue(client.database)
        #expect(client.ask("PSUBSCRIBE a*") == "*3|$10|psubscribe|$2|a*|:1|")
        #expect(client.ask("SUBSCRIBE ab") == "*3|$9|subscribe|$2|ab|:2|")
        #expect(client.ask("PSUBSCRIBE a*") == "*3|$10|psubscribe|$2|a*|:2|")
        #expect(other.ask("PUBLISH ab x") == ":2|")
        #expect(other.ask("PUBLISH b x") == ":0|")
        #expect(
            sent(client, inbox)
                == "*3|$7|message|$2|ab|$1|x|*4|$8|pmessage|$2|a*|$2|ab|$1|x|")
        #expect(client.ask("GET a").hasPrefix("-ERR Can't execute 'get'"))
        #expect(client.ask("UNSUBSCRIBE") == "*3|$11|unsubscribe|$2|ab|:1|")
        #expect(client.ask("UNSUBSCRIBE") == "*3|$11|unsubscribe|$-1|:1|")
        #expect(client.ask("PUNSUBSCRIBE") == "*3|$12|punsubscribe|$2|a*|:0|")
        #expect(sent(client, inbox) == "")
        #expect(other.ask("PUBLISH ab x") == ":0|" && client.ask("GET a") == "$-1|")
    }

    /// The loop accepts no message. A subscriber that misses a message must not stay connected.
    @Test("a subscriber is disconnected when its loop accepts no message")
    func whoCannotBeReachedIsCutOff() {
        let (client, inbox) = subscriber()
        let cut = Mutex(0)
        let post = Post()
        post.set(wake: { false })
        client.session.post = post
        client.session.cutOff = { cut.withLock { $0 += 1 } }
        #expect(client.ask("SUBSCRIBE a") == "*3|$9|subscribe|$1|a|:1|")
        #expect(Dialogue(client.database).ask("PUBLISH a x") == ":1|")
        #expect(cut.withLock { $0 } == 1 && inbox.messages.withLock { $0.isEmpty })
    }

    /// A loop is woken once for all messages that wait for it. A client that publishes far more
    /// than the loop delivers must wait.
    @Test("a loop is woken once for all waiting messages")
    func aLoopIsWokenOnceForAllThatWaits() {
        let (client, inbox) = subscriber()
        let wakes = Mutex(0)
        let post = Post()
        post.set(wake: {
            wakes.withLock { $0 += 1 }
            return true
        })
        client.session.post = post
        #expect(client.ask("SUBSCRIBE a") == "*3|$9|subscribe|$1|a|:1|")
        let other = Dialogue(client.database)
        for _ in 0..<1000 { #expect(other.ask("PUBLISH a x") == ":1|") }
        #expect(wakes.withLock { $0 } == 1 && inbox.messages.withLock { $0.isEmpty })
        #expect(!other.session.isStopped)
        let long = [UInt8](repeating: 0x6D, count: 60_000)
        let words = [Array("PUBLISH".utf8), Array("a".utf8), long]
        for _ in 0..<200 { _ = other.bytes(of: words) }
        #expect(other.session.isStopped && !other.session.mayGoOn())
        post.deliver()
        #expect(inbox.messages.withLock { $0.count } == 1200)
        #expect(other.session.mayGoOn() && !other.session.isStopped)
        #expect(other.ask("PUBLISH a x") == ":1|" && wakes.withLock { $0 } == 2)
    }

    @Test("a message is encoded in the protocol version that the client uses at its delivery")
    func aMessageIsEncodedAsTheClientThenSpeaks() {
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
