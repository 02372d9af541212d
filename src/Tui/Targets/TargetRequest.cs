using KTrace.Debugger.Stepping;

namespace KTrace.Tui.Targets;

/// <summary>What the screen asks of a target. Places and expressions are as a person writes them for gdb.</summary>
public abstract record TargetRequest
{
    private TargetRequest()
    {
    }

    public sealed record Continue : TargetRequest;

    public sealed record Step(StepKind Kind, int Count = 1) : TargetRequest;

    /// <summary>Until a frame of the call path has returned.</summary>
    public sealed record Finish(int Frame) : TargetRequest;

    /// <summary>Run to the cursor.</summary>
    public sealed record RunTo(string Place) : TargetRequest;

    /// <param name="IsStep">By one instruction; otherwise to the last stop.</param>
    public sealed record Reverse(bool IsStep) : TargetRequest;

    /// <summary>Stop the guest, end a step, or give up what is under way (a load, a search).</summary>
    public sealed record Interrupt : TargetRequest;

    public sealed record SelectCpu(int Cpu) : TargetRequest;

    /// <summary>Fills <see cref="TargetNews.FrameContents"/>.</summary>
    public sealed record SelectFrame(int Frame) : TargetRequest;

    /// <summary>A line of the command line, gdb's language (CommandTable). Its output is <see cref="TargetNews.Output"/>.</summary>
    public sealed record Command(string Text) : TargetRequest;

    /// <summary>Sets a breakpoint, or deletes those that are there.</summary>
    public sealed record ToggleBreakpoint(string Place) : TargetRequest;

    public sealed record EnableBreakpoint(int Number, bool IsEnabled) : TargetRequest;

    public sealed record DeleteBreakpoint(int Number) : TargetRequest;

    /// <summary>Evaluates watches in the chosen frame: <see cref="TargetNews.Watched"/>. The whole list each time.</summary>
    public sealed record Watch(IReadOnlyList<string> Expressions) : TargetRequest;

    /// <summary>The members of a variable or watch: <see cref="TargetNews.Expanded"/>.</summary>
    /// <param name="Expression">That leads to it from the frame: <c>desc-&gt;irq_data</c>.</param>
    public sealed record Expand(string Expression) : TargetRequest;

    /// <summary>Instructions about an address, or of a place: <see cref="TargetNews.Instructions"/>.</summary>
    public sealed record Disassemble(string Place) : TargetRequest;

    /// <summary>Memory as <see cref="TargetNews.MemoryRead"/>.</summary>
    /// <param name="Address">An expression.</param>
    public sealed record ReadMemory(string Address, int Length) : TargetRequest;

    /// <summary>The interrupt table: <see cref="TargetNews.Interrupts"/>.</summary>
    public sealed record ReadInterrupts : TargetRequest;

    /// <summary>One hit with all that is known of it: <see cref="TargetNews.HitShown"/>.</summary>
    public sealed record ShowHit(long Sequence) : TargetRequest;

    /// <summary>Travel to a hit's moment (exact replay).</summary>
    public sealed record JumpToHit(long Sequence) : TargetRequest;

    /// <summary>Two hits beside each other: <see cref="TargetNews.HitsCompared"/>.</summary>
    public sealed record CompareHits(long First, long Second) : TargetRequest;

    /// <summary>Another trace beside this one: <see cref="TargetNews.TracesCompared"/>.</summary>
    public sealed record CompareWith(string File) : TargetRequest;

    /// <summary>Types text into the guest's console.</summary>
    public sealed record TypeToConsole(string Text) : TargetRequest;

    /// <summary>Writes the session's hits as a trace.</summary>
    public sealed record Save(string File) : TargetRequest;

    /// <summary>Exports the hits (or one of them) in the format that the file's extension names: .ktrace, .json, .txt, .gdb, .folded.</summary>
    public sealed record Export(string File, long? Hit) : TargetRequest;

    /// <summary>Words that may complete the one at <paramref name="Cursor"/>: <see cref="TargetNews.Completions"/>.</summary>
    public sealed record Complete(string Text, int Cursor) : TargetRequest;

    /// <summary>Names a kernel source tree.</summary>
    public sealed record UseSource(string Folder) : TargetRequest;

    /// <summary>Lets the guest run on without a debugger, and ends.</summary>
    public sealed record Detach : TargetRequest;
}
