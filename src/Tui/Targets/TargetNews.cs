using System.Collections.Immutable;
using KTrace.Debugger.Cpus;
using KTrace.Tracing;
using KTrace.Tui.Views;

namespace KTrace.Tui.Targets;

/// <summary>What a target tells the screen. Everything in it is a copy that does not change any more; texts may hold anything, views sanitise them.</summary>
public abstract record TargetNews
{
    private TargetNews()
    {
    }

    /// <summary>Long work began or went on; null fraction: nobody knows how long.</summary>
    public sealed record Progress(string Text, double? Fraction = null, bool CanCancel = true) : TargetNews;

    /// <summary>What was under way is done.</summary>
    public sealed record Idle : TargetNews;

    public sealed record Running : TargetNews;

    public sealed record Stopped(StopSnapshot Stop) : TargetNews;

    /// <summary>There is no machine any more; what was seen stays on the screen.</summary>
    public sealed record Ended(string Reason) : TargetNews;

    /// <summary>What the target can do is known better now: its stub offers to go backwards, its console is connected.</summary>
    public sealed record Able(TargetAbilities Abilities) : TargetNews;

    /// <summary>Whether keys and commands that need the kernel's symbols work yet, and the phase of boot.</summary>
    public sealed record Identified(string Kernel, ulong Slide) : TargetNews;

    public sealed record ConsoleText(string Text) : TargetNews;

    /// <summary>Hits that came since, or those of the trace, in batches of at most some thousands.</summary>
    public sealed record HitsAdded(ImmutableArray<HitSummary> Hits) : TargetNews
    {
        /// <summary>Hits of the trace so far that are not listed: there are too many.</summary>
        public long Hidden { get; init; }
    }

    public sealed record HitShown(TraceRecord.Hit Hit, TraceRecord.Return? Returned, TracepointTable Tracepoints) : TargetNews;

    public sealed record HitsCompared(TraceRecord.Hit First, TraceRecord.Hit Second) : TargetNews;

    /// <param name="FirstPlaces">The tracepoints of the first trace.</param>
    /// <param name="SecondPlaces">The tracepoints of the second trace.</param>
    public sealed record TracesCompared(string First, string Second, TraceDiff Diff, TracepointTable FirstPlaces, TracepointTable SecondPlaces) : TargetNews;

    /// <summary>The answer to a command.</summary>
    public sealed record Output(string Command, ImmutableArray<TextLine> Lines) : TargetNews;

    /// <summary>A request that cannot be done; the session goes on.</summary>
    public sealed record Failed(string Message, string? Remedy) : TargetNews;

    /// <summary>Something that a person should know and did not ask for: a module came, a file was saved.</summary>
    public sealed record Note(string Text, bool IsWarning = false) : TargetNews;

    public sealed record Breakpoints(ImmutableArray<BreakpointRow> Rows) : TargetNews;

    public sealed record Modules(ImmutableArray<ModuleRow> Rows) : TargetNews;

    public sealed record FrameContents(FrameSnapshot Frame) : TargetNews;

    public sealed record Watched(ImmutableArray<ValueRow> Values) : TargetNews;

    /// <param name="Members">Empty with an error, or where there are none.</param>
    public sealed record Expanded(string Expression, ImmutableArray<ValueRow> Members, string? Error) : TargetNews;

    public sealed record Instructions(CodeListing Listing) : TargetNews;

    /// <param name="Bytes">Null where it cannot be read, byte by byte.</param>
    public sealed record MemoryRead(ulong Address, ImmutableArray<byte?> Bytes) : TargetNews
    {
        /// <summary>Bytes of a pointer.</summary>
        public int WordSize { get; init; } = sizeof(ulong);

        /// <summary>What each word points to in the kernel or a module, by its place in <see cref="Bytes"/>; words that point to nothing with a name are not there.</summary>
        public ImmutableDictionary<int, string> Names { get; init; } = ImmutableDictionary<int, string>.Empty;
    }

    public sealed record Interrupts(TraceRecord.Interrupts Table) : TargetNews;

    public sealed record Completions(string Text, int Cursor, int Start, ImmutableArray<string> Words) : TargetNews;
}

/// <summary>Where a machine stands.</summary>
/// <param name="Cause">Why, in words: <c>breakpoint 2, x86_vector_msi_compose_msg</c>.</param>
/// <param name="Phase">Of boot, in words.</param>
/// <param name="Path">In the shape of a hit; null before the kernel is up.</param>
/// <param name="Registers">In the architecture's order, with flags decoded where there are some.</param>
/// <param name="Result">What <c>finish</c> returned, as text.</param>
public sealed record StopSnapshot(
    string Cause, string Phase, int Cpu, ulong ProgramCounter, TraceRecord.Hit? Path, ImmutableArray<CpuState> Cpus, ImmutableArray<RegisterRow> Registers, string? Result)
{
    /// <summary>Counts stops.</summary>
    public long Number { get; init; }

    /// <summary>The hit of the timeline that this stop added, or null.</summary>
    public long? Hit { get; init; }
}

/// <param name="Changed">Since the stop before.</param>
/// <param name="Meaning">A symbol, or flags by name; null: a number only.</param>
public sealed record RegisterRow(string Name, ulong Value, bool Changed, string? Meaning);

/// <summary>The chosen frame: its source, its instructions, its variables.</summary>
/// <param name="Frame">Index in the call path.</param>
/// <param name="File">As debug information names it; null: not known.</param>
/// <param name="Source">Lines from 1; null where there is no source here.</param>
/// <param name="WhyNoSource">Says what would help (<c>--source DIR</c>).</param>
public sealed record FrameSnapshot(
    int Frame, string Function, string? File, int? Line, IReadOnlyList<string>? Source, string? WhyNoSource, CodeListing? Code, ImmutableArray<ValueRow> Variables);

/// <summary>A variable, watch or member.</summary>
/// <param name="Expression">That leads to it from the frame.</param>
/// <param name="Provenance">How it is known; null: not said.</param>
/// <param name="CanExpand">A structure, an array or a pointer to such.</param>
/// <param name="Error">Why there is no value.</param>
public sealed record ValueRow(string Name, string Expression, string? Type, string? Text, string? Provenance, bool CanExpand, string? Error = null, bool IsArgument = false)
{
    public bool Changed { get; init; }
}

/// <summary>Instructions with the source lines that they belong to.</summary>
/// <param name="Title">The function and its place.</param>
public sealed record CodeListing(string Title, ImmutableArray<CodeRow> Rows);

/// <param name="Address">At run time.</param>
/// <param name="Bytes">In hexadecimal.</param>
/// <param name="Text">Mnemonic and operands, branch targets as symbols.</param>
/// <param name="Source">Set where another line begins: file:line, and its text where it is known.</param>
public sealed record CodeRow(ulong Address, string Offset, string Bytes, string Text, string? SourceLine, string? SourceText, bool IsCurrent, int? Breakpoint);

/// <summary>A hit in the timeline.</summary>
/// <param name="Clock">The guest's, in words.</param>
/// <param name="Place">The tracepoint's or breakpoint's words.</param>
/// <param name="Path">The first functions, innermost first.</param>
public sealed record HitSummary(long Sequence, string Place, int Cpu, string Task, string Context, string Clock, string Path, string Arguments)
{
    /// <summary>The function of the path that tells where the hit belongs (<see cref="CallPathLandmark"/>); empty: not known.</summary>
    public string Where { get; init; } = "";

    /// <summary>Recorded deterministically: <see cref="TargetRequest.JumpToHit"/> finds its moment.</summary>
    public bool CanJump { get; init; }
}

public sealed record BreakpointRow(int Number, string Kind, string Text, string Where, string? Condition, bool IsEnabled, bool IsPending, long Hits, ulong? Address, string? File, int? Line);

public sealed record ModuleRow(string Name, ulong Base, long Size, string? BuildId, bool HasSymbols);
