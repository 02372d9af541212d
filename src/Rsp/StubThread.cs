namespace KTrace.Rsp;

/// <summary>A thread of the target; for QEMU, a CPU of the machine.</summary>
/// <param name="Name">The thread's name (gdbserver: its comm), or null.</param>
/// <param name="Core">The processor that it ran on last, or null.</param>
/// <param name="Extra">The stub's words about it (QEMU: `CPU#0 [halted ]`), or null. Control characters made visible.</param>
public sealed record StubThread(ThreadId Id, string? Name = null, int? Core = null, string? Extra = null);
