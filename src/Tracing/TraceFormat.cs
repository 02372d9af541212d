// The numbers of the .ktrace format (docs/trace-format.md). Reader and writer share them, so that what one writes the other accepts.
namespace KTrace.Tracing;

/// <summary>Version and limits of the trace file.</summary>
public static class TraceFormat
{
    /// <summary>Grows only when an old reader would misunderstand a new file; new fields and record types do not need it.</summary>
    public const int Version = 2;

    /// <summary>The format of traces without compact hits, which every ktrace reads.</summary>
    public const int First = 1;

    /// <summary>The first format with compact hits: an older reader would look for the path of each.</summary>
    public const int Compact = 2;

    /// <summary>Bytes in a line without its line feed. A header with 30,000 tracepoints fits; a file that is no text is given up early.</summary>
    public const int MaxLineBytes = 4 << 20;

    /// <summary>Nesting of JSON in one record.</summary>
    public const int MaxDepth = 32;

    /// <summary>Frames in one call path. Linux' largest stack (16 KiB, 8 bytes a return address) cannot hold as many.</summary>
    public const int MaxPathFrames = 4096;

    /// <summary>Ids of argument lists. A recording of a million hits has millions of different ones, so ids come again and mean the latest.</summary>
    public const int MaxValues = 8192;

    /// <summary>Ids of frames of stacks that compact hits refer to; they come again and mean the latest.</summary>
    public const int MaxStacks = 1 << 16;

    /// <summary>Ids of tasks that compact hits refer to, and of results that compact returns refer to; they come again and mean the latest.</summary>
    public const int MaxTasks = 1 << 14;

    /// <summary>Values of one function's parameters whose meaning is written, until the parameters are written anew.</summary>
    public const int MaxMeanings = 1 << 16;

    /// <summary>Arguments of one function, and prints of one tracepoint. The kernel's widest functions have 13.</summary>
    public const int MaxArguments = 256;

    /// <summary>Characters in the name of a function, module or source file (Linux: KSYM_NAME_LEN is 512, PATH_MAX 4096).</summary>
    public const int MaxNameLength = 4096;

    /// <summary>Characters of console text in one record; a guest that writes no line feeds gets its text in pieces of this size.</summary>
    public const int MaxConsoleText = 4096;
}
