/// The options of sockets.
import Glibc

public func setSocketOption<Value: BitwiseCopyable>(
    _ descriptor: CInt, _ level: CInt, _ name: CInt, _ value: Value
) throws {
    var value = value
    let size = socklen_t(MemoryLayout<Value>.size)
    guard setsockopt(descriptor, level, name, &value, size) == 0 else {
        throw SystemFailure("setsockopt")
    }
}

/// Returns the value of an option whose type is that of `initial`.
public func socketOption<Value: BitwiseCopyable>(
    _ descriptor: CInt, _ level: CInt, _ name: CInt, _ initial: Value
) throws -> Value {
    var value = initial
    var size = socklen_t(MemoryLayout<Value>.size)
    guard getsockopt(descriptor, level, name, &value, &size) == 0 else {
        throw SystemFailure("getsockopt")
    }
    return value
}
