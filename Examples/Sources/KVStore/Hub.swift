import RESPCodec

/// A published message. All subscribers share it, and each encodes it in its protocol version at
/// that time.
public final class Message: Sendable {
    let channel: [UInt8]
    let text: [UInt8]

    init(channel: [UInt8], text: [UInt8]) {
        self.channel = channel
        self.text = text
    }

    /// The bytes that the message uses while it waits, including its bookkeeping.
    public var size: Int { channel.count + text.count + 64 }
}

/// A client that has subscribed to a channel or to a pattern.
struct Member: Sendable {
    let id: Int
    let subscription: Subscription
    let deliver: Session.Deliver
    let cutOff: @Sendable () -> Void
}

/// The channels, the patterns and their subscribers, for all loops. All subscribers receive the
/// messages of several clients in the same order. Under the lock, a message is added to the post of
/// each loop, and every post delivers in its order.
// The stored state is accessed only under the lock.
final class Hub: @unchecked Sendable {
    /// The subscribers of one loop. A message keeps the array in its state at that time.
    private struct Group {
        let post: Post
        var members: [Member]
    }

    private let lock = Lock()
    private var channels: [[UInt8]: [Group]] = [:]
    private var patterns: [[UInt8]: [Group]] = [:]

    var channelCount: Int { lock.alone { channels.count } }
    var patternCount: Int { lock.alone { patterns.count } }

    func subscribe(
        _ session: Session, to name: [UInt8], _ kind: Subscription.Kind, number: Int
    ) {
        let member = Member(
            id: session.id,
            subscription: Subscription(number: number, pattern: kind == .pattern ? name : nil),
            deliver: session.deliver, cutOff: session.cutOff)
        let post = session.post
        lock.alone {
            if kind == .channel {
                Self.add(member, post, to: &channels[name, default: []])
            } else {
                Self.add(member, post, to: &patterns[name, default: []])
            }
        }
    }

    func unsubscribe(_ session: Session, from name: [UInt8], _ kind: Subscription.Kind) {
        let (id, post) = (session.id, session.post)
        lock.alone {
            if kind == .channel {
                Self.remove(id, post, from: &channels[name, default: []])
                if channels[name]?.isEmpty == true { channels[name] = nil }
            } else {
                Self.remove(id, post, from: &patterns[name, default: []])
                if patterns[name]?.isEmpty == true { patterns[name] = nil }
            }
        }
    }

    private static func add(_ member: Member, _ post: Post, to groups: inout [Group]) {
        guard let index = groups.firstIndex(where: { $0.post === post }) else {
            return groups.append(Group(post: post, members: [member]))
        }
        groups[index].members.append(member)
    }

    private static func remove(_ id: Int, _ post: Post, from groups: inout [Group]) {
        guard let index = groups.firstIndex(where: { $0.post === post }) else { return }
        groups[index].members.removeAll { $0.id == id }
        if groups[index].members.isEmpty { groups.remove(at: index) }
    }

    /// Publishes a message and returns the number of its receivers. Receivers on the publisher's
    /// own loop get it at once, unless earlier messages wait for that loop.
    func publish(
        _ text: UnsafeRawBufferPointer, to channel: UnsafeRawBufferPointer, by session: Session
    ) -> Int {
        let message = Message(channel: [UInt8](channel), text: [UInt8](text))
        var count = 0
        var here: [Post] = []
        func hand(to groups: [Group]) {
            for group in groups {
                count += group.members.count
                let isHere = group.post === session.post || !group.post.isElsewhere
                if group.post.add(message, group.members, isHere: isHere) {
                    here.append(group.post)
                } else if group.post.isCongested {
                    session.stop(for: group.post)
                }
            }
        }
        lock.alone {
            if let groups = channels[message.channel] { hand(to: groups) }
            for (pattern, groups) in patterns
            where pattern.withUnsafeBytes({ matches($0, channel) }) {
                hand(to: groups)
            }
        }
        for post in here { post.deliver() }
        return count
    }
}
