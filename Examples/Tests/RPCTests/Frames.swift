/// Frames as the bytes that a peer sends or receives.
import NetAPITesting
import RPCCodec

enum Frames {
    static func bytes(_ frames: Frame...) -> TestBytes {
        var all = TestBytes()
        for frame in frames {
            all += withUnsafeBytes(of: UInt32(9 + frame.body.count).bigEndian) { Array($0) }
            all += withUnsafeBytes(of: frame.id.bigEndian) { Array($0) }
            all += [frame.code]
            all += frame.body
        }
        return all
    }

    static func wait(_ id: UInt64, _ time: UInt8, _ text: String) -> Frame {
        Frame(id: id, code: Method.wait, body: [0, 0, 0, time] + text.utf8)
    }

    static func echo(_ id: UInt64, _ text: String) -> Frame {
        Frame(id: id, code: Method.echo, body: Array(text.utf8))
    }

    static func answer(_ id: UInt64, _ text: String) -> Frame {
        Frame(id: id, code: Status.answer, body: Array(text.utf8))
    }
}
