/// Tests of the messages from other threads to a loop: in order, bounded, one wake-up for each
/// batch, none lost.
import Glibc
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct MailboxTests {
    private let waker = ConditionWaker()

    // MARK: Outcomes

    @Test("the mailbox delivers messages in the order of their posts")
    func keepsOrder() {
        let mailbox = Mailbox<Int>(capacity: 100, waker: waker)
        for number in 0..<50 { #expect(mailbox.post(number) == .accepted) }
        var batch = [-1]
        mailbox.take(into: &batch)
        #expect(batch == Array(0..<50))
        mailbox.take(into: &batch)
        #expect(batch.isEmpty)
    }

    @Test("a full mailbox returns full for a post and counts the refusal")
    func saysThatItIsFull() {
        let mailbox = Mailbox<Int>(capacity: 2, waker: waker)
        #expect(mailbox.post(1) == .accepted)
        #expect(mailbox.post(2) == .accepted)
        #expect(mailbox.post(3) == .full)
        #expect(mailbox.post(4) == .full)
        #expect(mailbox.refusals == 2)
        var batch: [Int] = []
        mailbox.take(into: &batch)
        #expect(batch == [1, 2])
        #expect(mailbox.post(5) == .accepted)
        #expect(mailbox.refusals == 2)
    }

    @Test("a post with always is accepted by a full mailbox")
    func alwaysPassesByTheCapacity() {
        let mailbox = Mailbox<Int>(capacity: 1, waker: waker)
        #expect(mailbox.post(1) == .accepted)
        #expect(mailbox.post(2) == .full)
        for number in 3..<10 { #expect(mailbox.post(number, always: true) == .accepted) }
        #expect(mailbox.refusals == 1)
        var batch: [Int] = []
        mailbox.take(into: &batch)
        #expect(batch == [1] + Array(3..<10))
    }

    @Test("a closed mailbox returns closed for every post and wakes no loop")
    func saysThatItIsClosed() {
        let mailbox = Mailbox<Int>(capacity: 2, waker: waker)
        _ = mailbox.post(1)
        _ = mailbox.post(2)
        #expect(mailbox.close() == [1, 2])
        let before = waker.wakes
        #expect(mailbox.post(3) == .closed)
        #expect(mailbox.post(4, always: true) == .closed)
        #expect(waker.wakes == before)
        #expect(mailbox.refusals == 0)
        #expect(mailbox.close().isEmpty)
        var batch = [9]
        mailbox.take(into: &batch)
        #expect(batch.isEmpty)
    }

    // MARK: Wake-ups

    @Test("the mailbox wakes its loop once for each batch of posts")
    func wakesOnceForEachBatch() {
        let mailbox = Mailbox<Int>(capacity: 3, waker: waker)
        #expect(!mailbox.mayHoldMessages && waker.wakes == 0)
        var batch: [Int] = []
        for round in 1...5 {
            for number in 0..<3 { _ = mailbox.post(number) }
            #expect(mailbox.mayHoldMessages)
            #expect(waker.wakes == round)
            _ = mailbox.post(3)
            #expect(waker.wakes == round, "a refused post woke the loop")
            mailbox.take(into: &batch)
            #expect(!mailbox.mayHoldMessages && batch.count == 3)
        }
        mailbox.take(into: &batch)
        #expect(waker.wakes == 5)
    }

    @Test("a refused post does not wake the loop")
    func aRefusedPostWakesNobody() {
        let mailbox = Mailbox<Int>(capacity: 0, waker: waker)
        #expect(mailbox.post(1) == .full)
        #expect(waker.wakes == 0 && !mailbox.mayHoldMessages)
    }

    // MARK: Threads

    private struct Post: Sendable {
        let producer: Int
        let number: Int
    }

    private static let producers = 8
    private static let posts = 20_000

    @Test("the mailbox loses no wake-up when several threads post at the same time")
    func losesNoWakeUp() throws {
        let mailbox = Mailbox<Post>(capacity: .max, waker: waker)
        let team = ThreadTeam(Self.producers) { producer in
            for number in 0..<Self.posts {
                let outcome = mailbox.post(Post(producer: producer, number: number))
                precondition(outcome == .accepted)
            }
        }
        let takes = consume(mailbox)
        team.join()
        #expect(waker.wakes <= takes + 1, "\(waker.wakes) wake-ups for \(takes) batches")
        #expect(mailbox.refusals == 0)
    }

    /// Two posts in each round; the second often comes during the loop's check. If it goes
    /// unnoticed, no later post reports it: the next round begins only after both were received.
    @Test("the loop notices a post that arrives during its check for messages")
    func aPostDuringTheLookIsNoticed() throws {
        let mailbox = Mailbox<Int>(capacity: .max, waker: waker)
        let counters = LoopCounters()
        let rounds = 50_000
        let team = ThreadTeam(1) { _ in
            for round in 0..<rounds {
                _ = mailbox.post(2 * round)
                for _ in 0..<round % 40 { _ = counters.bytesIn.current }
                _ = mailbox.post(2 * round + 1)
                while counters.bytesIn.current < 2 * round + 2 { sched_yield() }
            }
        }
        var received = 0
        var batch: [Int] = []
        var last = MonotonicClock.now
        while received < 2 * rounds {
            if mailbox.mayHoldMessages {
                mailbox.take(into: &batch)
                received += batch.count
                counters.bytesIn.add(batch.count)
                last = MonotonicClock.now
            } else if MonotonicClock.now - last > 10_000_000_000 {
                Issue.record("nothing told of a post for ten seconds, after \(received)")
                counters.bytesIn.add(2 * rounds)
                break
            } else {
                // On one processor, the other thread would otherwise run once in a time slice.
                sched_yield()
            }
        }
        team.join()
    }

    @Test("the mailbox loses no message when it is often full")
    func losesNothingWhenItIsOftenFull() throws {
        let mailbox = Mailbox<Post>(capacity: 16, waker: waker)
        let refused = Monitor(0)
        let team = ThreadTeam(Self.producers) { producer in
            var refusals = 0
            for number in 0..<Self.posts / 10 {
                while mailbox.post(Post(producer: producer, number: number)) == .full {
                    refusals += 1
                    sched_yield()
                }
            }
            refused.update { $0 += refusals }
        }
        let takes = consume(mailbox, each: Self.posts / 10)
        team.join()
        #expect(waker.wakes <= takes + 1)
        #expect(mailbox.refusals == refused.update { $0 })
    }

    @Test("a mailbox that closes during posts delivers or returns every accepted message")
    func everyPostIsTakenOrRefusedWhenItCloses() throws {
        let mailbox = Mailbox<Post>(capacity: .max, waker: waker)
        let accepted = Monitor(0)
        let team = ThreadTeam(Self.producers) { producer in
            var number = 0
            while mailbox.post(Post(producer: producer, number: number)) == .accepted {
                number += 1
            }
            accepted.update { $0 += number }
        }
        var seen = 0
        var batch: [Post] = []
        while seen < 1000 {
            mailbox.take(into: &batch)
            seen += batch.count
            sched_yield()
        }
        seen += mailbox.close().count
        team.join()
        #expect(seen == accepted.update { $0 })
    }

    /// Sleeps before each batch, like a loop, until all posts are received. Returns the number of
    /// batches.
    private func consume(_ mailbox: Mailbox<Post>, each: Int = posts) -> Int {
        var next = [Int](repeating: 0, count: Self.producers)
        var batch: [Post] = []
        var takes = 0
        var received = 0
        var misplaced = 0
        let total = Self.producers * each
        while received < total {
            guard waker.sleep() else {
                Issue.record("asleep after \(received) of \(total) posts: a wake-up was lost")
                break
            }
            mailbox.take(into: &batch)
            takes += 1
            received += batch.count
            for post in batch {
                if post.number != next[post.producer] { misplaced += 1 }
                next[post.producer] = post.number + 1
            }
        }
        #expect(misplaced == 0, "posts of one thread out of order")
        #expect(received == total)
        return takes
    }
}
