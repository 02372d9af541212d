using System.Collections.Immutable;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Recovery;

/// <summary>Recovers values over a whole stack of the kernel and its modules. For one thread at a time, like the map.</summary>
public sealed class FrameRecovery : IValueRecovery
{
    public FrameRecovery(KernelMap map) => Map = map;

    public KernelMap Map { get; }

    /// <inheritdoc/>
    public RecoveredValue EntryRegister(ImmutableArray<UnwoundFrame> frames, int frame, int register, IMemoryReader memory) => RecoveredValue.Unknown;

    /// <inheritdoc/>
    public RecoveredValue EntrySlot(ImmutableArray<UnwoundFrame> frames, int frame, long cfaOffset, int size, IMemoryReader memory) => RecoveredValue.Unknown;

    /// <inheritdoc/>
    public RecoveredValue RegisterAt(ImmutableArray<UnwoundFrame> frames, int frame, ulong at, int register, IMemoryReader memory) => RecoveredValue.Unknown;

    /// <inheritdoc/>
    public RecoveredValue SlotAt(ImmutableArray<UnwoundFrame> frames, int frame, ulong at, long cfaOffset, int size, IMemoryReader memory) => RecoveredValue.Unknown;

    /// <inheritdoc/>
    public RecoveredValue Register(ImmutableArray<UnwoundFrame> frames, int frame, int register, IMemoryReader memory) => RecoveredValue.Unknown;
}
