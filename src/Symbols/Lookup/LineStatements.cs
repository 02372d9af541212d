// Line number programs read for the opposite question: where does a line begin? DWARF 5, section 6.2.5; rows with is_stmt are "recommended breakpoint
// locations" (section 6.2.2). GCC writes several rows for one address (views), of which each counts here: the line has its beginning there, although
// a lookup by address names the last of them.
using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Lookup;

/// <summary>A row that begins a statement.</summary>
internal readonly record struct LineStatement(ulong Address, int File, int Line);

/// <summary>The rows of one unit's program, in its order.</summary>
internal static class LineStatements
{
    // A row costs at least a byte of the program, but sequences may be read in any order: this bounds nothing real.
    private const int MaximumRows = 1 << 24;

    /// <summary>
    /// Appends every row of a wanted file that begins a statement and does not merely go on with the line of the row before it. Throws
    /// <see cref="MalformedFileException"/> for a damaged program.
    /// </summary>
    /// <param name="header">Loaded for the unit.</param>
    /// <param name="isWanted">Whether file N of the table is asked for.</param>
    public static void Read(SectionData section, LineProgramHeader header, Func<int, bool> isWanted, GrowingArray<LineStatement> into)
    {
        var r = section.ReaderAt(header.ProgramStart);
        var state = new LineProgramState(header);
        var (lastFile, lastLine) = (int.MinValue, 0);
        var rows = 0;
        while (r.Position < header.ProgramEnd && rows < MaximumRows)
        {
            var emits = state.Execute(ref r);
            if (state.SequenceEnded)
            {
                state = new LineProgramState(header);
                lastFile = int.MinValue;
            }
            else if (emits)
            {
                rows++;
                if (state.IsStatement && (state.File != lastFile || state.Line != lastLine))
                {
                    if (isWanted(state.File))
                    {
                        into.Add(new LineStatement(state.Address, state.File, state.Line));
                    }

                    (lastFile, lastLine) = (state.File, state.Line);
                }
            }
        }
    }
}
