using System.Collections.Immutable;

namespace KTrace.Tracing;

/// <summary>One frame on the stack.</summary>
internal sealed class StackNode(StackNode? caller, ulong pc, ImmutableArray<TraceFrame> frames, ImmutableArray<ulong> tailPcs, int functionFrame)
{
    public StackNode? Caller { get; } = caller;

    public ulong Pc { get; } = pc;

    public ImmutableArray<TraceFrame> Frames { get; } = frames;

    /// <summary>Addresses of the functions that left by tail calls.</summary>
    public ImmutableArray<ulong> OwnTailPcs { get; } = tailPcs;

    /// <summary>Id of the frame that has the stack frame.</summary>
    public int FunctionFrame { get; } = functionFrame;

    /// <summary>Of the whole path.</summary>
    public int FrameCount { get; } = (caller?.FrameCount ?? 0) + frames.Length;

    public int? Tracepoint { get; init; }

    public TraceContext? Context { get; init; }

    public CallPath? Path { get; set; }

    public ImmutableArray<ulong> Pcs => Collected(ref _pcs, node => [node.Pc]);

    public ImmutableArray<ulong> TailPcs => Collected(ref _tailPcs, node => node.OwnTailPcs);

    private ImmutableArray<ulong> _pcs;
    private ImmutableArray<ulong> _tailPcs;

    private ImmutableArray<ulong> Collected(ref ImmutableArray<ulong> known, Func<StackNode, ImmutableArray<ulong>> of)
    {
        if (known.IsDefault)
        {
            var all = ImmutableArray.CreateBuilder<ulong>();
            for (StackNode? node = this; node is not null; node = node.Caller)
            {
                all.AddRange(of(node));
            }

            known = all.DrainToImmutable();
        }

        return known;
    }
}
