/// Messages on their way: between PUBLISH and the delivery, the subscriber may have sent commands.
import KVStore
import RESPCodec
import Synchronization
import Testing

@Suite struct ChannelTests {
    private final class Inbox: Sendable {
        let messages = Mutex<[Delivery]>([])
    }

    private final class Count: Sendable {
        let value = Mutex(0)
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
        // Each turn but the last wakes the loop for the next.
        let turns = 6
        for _ in 0..<turns { post.deliver() }
        #expect(inbox.messages.withLock { $0.count } == 1200)
        #expect(other.session.mayGoOn() && !other.session.isStopped)
        #expect(wakes.withLock { $0 } == turns)
        #expect(other.ask("PUBLISH a x") == ":1|" && wakes.withLock { $0 } == turns + 1)
    }

    /// Returns a subscriber of the channel a, its messages, its post, and the number of times that
    /// the loop of the post was woken.
    private func remote() -> (client: Dialogue, inbox: Inbox, post: Post, wakes: () -> Int) {
        let (client, inbox) = subscriber()
        let wakes = Count()
        let post = Post()
        post.set(wake: {
            wakes.value.withLock { $0 += 1 }
            return true
        })
        client.session.post = post
        return (client, inbox, post, { wakes.value.withLock { $0 } })
    }

    /// The loop sends what it has written between the turns. Else a client on another loop that
    /// publishes without a pause would fill the memory of a subscriber that reads.
    @Test("messages that are published during a delivery wait for the next turn")
    func messagesDuringADeliveryWait() {
        let (client, inbox, post, wakes) = remote()
        // Used on this thread only.
        nonisolated(unsafe) let other = Dialogue(client.database)
        client.session.deliver = { message, subscription in
            let count = inbox.messages.withLock {
                $0.append((message, subscription))
                return $0.count
            }
            if count < 100 { _ = other.ask("PUBLISH a x") }
        }
        #expect(client.ask("SUBSCRIBE a") == "*3|$9|subscribe|$1|a|:1|")
        #expect(other.ask("PUBLISH a x") == ":1|")
        for turn in 1...3 {
            post.deliver()
            #expect(inbox.messages.withLock { $0.count } == turn && wakes() == turn + 1)
        }
    }

    @Test("a turn writes a bounded number of messages and wakes the loop for the others")
    func aTurnIsBounded() {
        let (client, inbox, post, wakes) = remote()
        #expect(client.ask("SUBSCRIBE a") == "*3|$9|subscribe|$1|a|:1|")
        let other = Dialogue(client.database)
        for _ in 0..<40_000 { _ = other.ask("PUBLISH a x") }
        #expect(wakes() == 1)
        post.deliver()
        #expect((1...32_768).contains(inbox.messages.withLock { $0.count }) && wakes() == 2)
        post.deliver()
        #expect(inbox.messages.withLock { $0.count } == 40_000 && wakes() == 2)
    }

    @Test("a message of the same loop is delivered at once, but behind earlier messages")
    func aMessageOfTheSameLoopKeepsTheOrder() {
        let (client, inbox, post, wakes) = remote()
        #expect(client.ask("SUBSCRIBE a") == "*3|$9|subscribe|$1|a|:1|")
        let (near, far) = (Dialogue(client.database), Dialogue(client.database))
        near.session.post = post
        #expect(near.ask("PUBLISH a 1") == ":1|")
        #expect(inbox.messages.withLock { $0.count } == 1 && wakes() == 0)
        #expect(far.ask("PUBLISH a 2") == ":1|" && near.ask("PUBLISH a 3") == ":1|")
        #expect(inbox.messages.withLock { $0.count } == 1 && wakes() == 1)
        post.deliver()
        let expected = (1...3).map { "*3|$7|message|$1|a|$1|\($0)|" }.joined()
        #expect(sent(client, inbox) == expected && wakes() == 1)
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
