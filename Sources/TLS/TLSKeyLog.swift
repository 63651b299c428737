internal import Glibc
public import NetAPI

/// A file to which the secrets of each connection are appended, in the form that Wireshark reads.
/// It opens the recorded traffic.
public final class TLSKeyLog: Sendable {
    let descriptor: CInt

    /// Opens the file for appending, or makes one that only its owner may read. Throws `.system`
    /// with the path.
    public init(path: String) throws(NetError) {
        descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw NetError(path: path, errno: errno) }
    }

    deinit { close(descriptor) }
}
