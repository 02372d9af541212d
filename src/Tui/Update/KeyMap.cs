// The one table of keys. Dispatch, the footer, the help and docs/tui.md's list come from it. Letters are gdb's where gdb has them (c s n, f for finish), vim's for moving and searching
// (hjkl g G Ctrl-D / n N : z), less's for filtering (&), and the function keys of graphical debuggers beside them.
// `n` is both gdb's next and vim's next match: it goes to the next match in a pane in which a search is active, and steps everywhere else (Esc ends a search).
using System.Collections.Immutable;
using KTrace.Tui.State;
using KTrace.Tui.Terminal;
using static KTrace.Tui.Terminal.KeyName;

namespace KTrace.Tui.Update;

/// <param name="Panes">Where it holds; empty: everywhere that no other binding of a pane has the key.</param>
/// <param name="Word">For the footer.</param>
/// <param name="Meaning">For the help.</param>
/// <param name="Rank">In the footer: the smaller the earlier; 0: only in the help.</param>
public sealed record KeyBinding(UiCommand Command, ImmutableArray<KeyChord> Keys, ImmutableArray<PaneKind> Panes, string Word, string Meaning, int Rank = 0, Needs Needs = Needs.Nothing)
{
    /// <summary>What it is about, for the help; empty for a pane's own.</summary>
    public string Group { get; init; } = "";
}

/// <summary>Which key means what, by pane.</summary>
public static class KeyMap
{
    public static ImmutableArray<KeyBinding> All { get; } =
    [
        // What panes have of their own.
        In([PaneKind.CallPath], UiCommand.OpenFrame, [Enter, ' '], "arguments", "show each argument of the frame on a line, with its type and how its value is known", 10, Needs.Row),
        In([PaneKind.CallPath], UiCommand.ToggleArguments, ['a'], "all arguments", "show or hide the arguments below every frame", 30, Needs.Path),
        In([PaneKind.Hits], UiCommand.ShowHit, [Enter], "call path", "look at the hit: its call path, arguments and registers", 10, Needs.Row | Needs.Hits),
        In([PaneKind.Hits], UiCommand.MarkHit, ['m', ' '], "mark", "mark the hit for comparing, or take its mark away (two hits can be marked)", 11, Needs.Row | Needs.Hits),
        In([PaneKind.Hits], UiCommand.Filter, ['&', 'F'], "filter", "show only hits with these words: msi task:ifconfig -cpu:1 #10-20", 13, Needs.Hits),
        In([PaneKind.Variables], UiCommand.ExpandVariable, [Enter, ' ', 'l', Right], "expand", "show the members of a structure, array or pointer, or hide them", 10, Needs.Row),
        In([PaneKind.Variables], UiCommand.CollapseVariable, ['h', Left], "close", "hide the members, or go to what they belong to", 20, Needs.Row),
        In([PaneKind.Variables], UiCommand.DeleteWatch, ['x', Delete], "remove", "stop watching the expression", 21, Needs.Row),
        In([PaneKind.Disassembly], UiCommand.FollowInstruction, [Enter], "follow", "show the code that a call or jump leads to (Esc goes back to the frame's)", 20, Needs.Row | Needs.Live | Needs.Stopped),
        In([PaneKind.Registers], UiCommand.MemoryOfRegister, [Enter], "memory", "show the memory that the register points to", 20, Needs.Row | Needs.Live | Needs.Stopped),
        In([PaneKind.Registers], UiCommand.ColumnLeft, ['h', Left], "left", "to the register on the left; in a single column: scroll to the left", 0, Needs.Row),
        In([PaneKind.Registers], UiCommand.ColumnRight, ['l', Right], "right", "to the register on the right; in a single column: scroll to the right", 0, Needs.Row),
        In([PaneKind.Memory], UiCommand.AskMemory, [Enter], "address", "show memory at another address", 10, Needs.Live | Needs.Stopped),
        In([PaneKind.Cpus], UiCommand.SelectCpu, [Enter], "choose", "look at this CPU: its call path, registers and variables", 10, Needs.Row | Needs.Live | Needs.Stopped),
        In([PaneKind.Interrupts], UiCommand.ReadInterrupts, [Enter], "read", "read the interrupt table again (of a trace: the one that was recorded last)", 10, Needs.Stopped),
        In([PaneKind.Interrupts], UiCommand.ToggleAllInterrupts, [' '], "all", "show interrupts without a handler, or hide them", 11),
        In([PaneKind.Breakpoints], UiCommand.EnableBreakpoint, [' '], "on/off", "switch the breakpoint off, or on again", 10, Needs.Row | Needs.Live | Needs.Breakpoints),
        In([PaneKind.Breakpoints], UiCommand.DeleteBreakpoint, ['x', Delete], "delete", "remove the breakpoint", 11, Needs.Row | Needs.Live | Needs.Breakpoints),
        In([PaneKind.Breakpoints], UiCommand.ShowBreakpoint, [Enter], "code", "show the code where it is", 12, Needs.Row | Needs.Live | Needs.Stopped),
        In([PaneKind.Diff], UiCommand.NextDifference, ['}'], "next fork", "to the next place where the two differ", 10, Needs.Row),
        In([PaneKind.Diff], UiCommand.PreviousDifference, ['{'], "fork before", "to the place before where they differ", 11, Needs.Row),
        In([PaneKind.Console], UiCommand.TypeToConsole, [Enter, 'i'], "type", "type into the guest's console; Ctrl-] or Esc Esc comes back", 10, Needs.Live | Needs.Console),

        // Running.
        Running(UiCommand.Interrupt, [KeyChord.Control('c')], "stop", "stop the guest, or give up what is under way; never quits", 1),
        Running(UiCommand.Continue, ['c', F5], "continue", "run to the next stop", 14, Needs.Live | Needs.Stopped),
        Running(UiCommand.Next, ['n', F10], "next", "run to the next line of this function; in a pane with a search: to the next match (n)", 15),
        Running(UiCommand.Step, ['s', F11], "step", "run to the next line, into functions", 16, Needs.Live | Needs.Steps),
        Running(UiCommand.Finish, ['f', KeyChord.Shift(F11)], "finish", "run until the chosen frame's function returns, and show what it returned", 17, Needs.Live | Needs.Stopped),
        Running(UiCommand.ToggleBreakpoint, ['b', F9], "break", "set a breakpoint where the cursor is, or remove it; where no code is: ask for a place", 18, Needs.Live | Needs.Breakpoints),
        Running(UiCommand.RunToCursor, ['t', 'r'], "to here", "run to the cursor", 22, Needs.Live | Needs.Stopped | Needs.Place),
        Running(UiCommand.StepInstruction, ['i'], "stepi", "execute one instruction", 24, Needs.Live | Needs.Steps),
        Running(UiCommand.NextInstruction, ['I'], "nexti", "execute one instruction, calls as a whole", 25, Needs.Live | Needs.Steps),
        Running(UiCommand.ReverseContinue, ['R'], "back", "run backwards to the last stop", 26, Needs.Live | Needs.Stopped | Needs.Reverse),
        Running(UiCommand.ReverseStep, ['B'], "back one", "go back by one instruction", 27, Needs.Live | Needs.Stopped | Needs.Reverse),
        Running(UiCommand.Caller, ['u'], "caller", "choose the frame's caller", 31, Needs.Path),
        Running(UiCommand.Callee, ['U'], "callee", "choose the frame that it called", 0, Needs.Path),

        // Hits, watches, files.
        Keeping(UiCommand.DiffMarked, ['d'], "diff", "compare the two marked hits", 12, Needs.TwoMarks),
        Keeping(UiCommand.JumpToHit, ['J'], "jump", "bring the machine to the moment of the hit", 28, Needs.Hits | Needs.Jump),
        Keeping(UiCommand.Watch, ['w'], "watch", "watch an expression: its value is shown at every stop", 29, Needs.Live),
        Keeping(UiCommand.Print, ['p'], "print", "print an expression", 33, Needs.Live | Needs.Stopped),
        Keeping(UiCommand.Save, ['S'], "save", "write the session's hits as a trace", 34, Needs.Hits),
        Keeping(UiCommand.Export, ['e'], "export", "write the hits for other programs (.json, .txt, .gdb, .folded)", 35, Needs.Hits),

        // Moving.
        Moving(UiCommand.Down, ['j', Down], "down", "one row down"),
        Moving(UiCommand.Up, ['k', Up], "up", "one row up"),
        Moving(UiCommand.HalfPageDown, [KeyChord.Control('d')], "half a page", "half a page down"),
        Moving(UiCommand.HalfPageUp, [KeyChord.Control('u')], "half a page", "half a page up"),
        Moving(UiCommand.PageDown, [PageDown, KeyChord.Control('f')], "page", "a page down"),
        Moving(UiCommand.PageUp, [PageUp, KeyChord.Control('b')], "page", "a page up"),
        Moving(UiCommand.First, ['g', Home], "first", "to the first row"),
        Moving(UiCommand.Last, ['G', End], "last", "to the last row; console, output and a session's hits then follow what comes"),
        Moving(UiCommand.ScreenTop, ['H'], "top", "to the first row on the screen"),
        Moving(UiCommand.ScreenMiddle, ['M'], "middle", "to the middle of the screen"),
        Moving(UiCommand.ScreenBottom, ['L'], "bottom", "to the last row on the screen"),
        Moving(UiCommand.ScrollLeft, ['h', Left], "left", "scroll to the left"),
        Moving(UiCommand.ScrollRight, ['l', Right], "right", "scroll to the right"),
        Moving(UiCommand.Search, ['/'], "search", "search in the pane; small letters match capitals too", 23),
        Moving(UiCommand.SearchPrevious, ['N'], "previous", "to the match before"),

        // Panes and layouts.
        Arranging(UiCommand.NextPane, [Tab], "pane", "to the next pane", 19),
        Arranging(UiCommand.PreviousPane, [KeyChord.Shift(Tab)], "pane", "to the pane before"),
        Arranging(UiCommand.NextTab, [']'], "tab", "to the next pane that shares this place", 36),
        Arranging(UiCommand.PreviousTab, ['['], "tab", "to the pane before it"),
        Arranging(UiCommand.Zoom, ['z'], "zoom", "give the pane the whole screen, or take it back", 21),
        Arranging(UiCommand.Layout1, ['1'], "layout", "layout: where the machine stands (of a trace: its hits)", 23),
        Arranging(UiCommand.Layout2, ['2'], "layout", "layout: source and disassembly"),
        Arranging(UiCommand.Layout3, ['3'], "layout", "layout: hits and their differences"),
        Arranging(UiCommand.Layout4, ['4'], "layout", "layout: interrupts and CPUs"),
        Arranging(UiCommand.Layout5, ['5'], "layout", "layout: instructions, registers, memory"),
        Arranging(UiCommand.Layout6, ['6'], "layout", "layout: the guest's console"),

        // The session.
        Session(UiCommand.CommandLine, [':'], "command", "the command line: gdb's commands, and those of this screen (:help)", 20),
        Session(UiCommand.Help, ['?', F1], "help", "all keys"),
        Session(UiCommand.Back, [Escape], "back", "end a search, a filter, a zoom; back from a hit to the stop"),
        Session(UiCommand.Repaint, [KeyChord.Control('l')], "repaint", "paint the screen again"),
        Session(UiCommand.Suspend, [KeyChord.Control('z')], "suspend", "back to the shell; fg comes back here"),
        Session(UiCommand.Quit, ['q'], "quit", "leave; asks when a guest would be ended by it"),
    ];

    /// <summary>What a key means in a pane; null: nothing.</summary>
    public static KeyBinding? Find(PaneKind pane, KeyChord key)
    {
        KeyBinding? everywhere = null;
        foreach (var binding in All)
        {
            if (binding.Keys.Contains(key))
            {
                if (binding.Panes.Contains(pane))
                {
                    return binding;
                }

                everywhere ??= binding.Panes.IsEmpty ? binding : null;
            }
        }

        return everywhere;
    }

    /// <summary>What can be done in a pane, as help lists it: the pane's own keys, then the others.</summary>
    public static IEnumerable<KeyBinding> Of(PaneKind pane) => All.Where(b => b.Panes.Contains(pane)).Concat(All.Where(b => b.Panes.IsEmpty && b.Keys.Any(k => Find(pane, k) == b)));

    private static KeyBinding In(ImmutableArray<PaneKind> panes, UiCommand command, ImmutableArray<KeyChord> keys, string word, string meaning, int rank = 0, Needs needs = Needs.Nothing) =>
        new(command, keys, panes, word, meaning, rank, needs);

    private static KeyBinding Running(UiCommand command, ImmutableArray<KeyChord> keys, string word, string meaning, int rank = 0, Needs needs = Needs.Nothing) =>
        new(command, keys, [], word, meaning, rank, needs) { Group = "running" };

    private static KeyBinding Keeping(UiCommand command, ImmutableArray<KeyChord> keys, string word, string meaning, int rank = 0, Needs needs = Needs.Nothing) =>
        new(command, keys, [], word, meaning, rank, needs) { Group = "hits, watches, files" };

    private static KeyBinding Moving(UiCommand command, ImmutableArray<KeyChord> keys, string word, string meaning, int rank = 0) =>
        new(command, keys, [], word, meaning, rank) { Group = "moving" };

    private static KeyBinding Arranging(UiCommand command, ImmutableArray<KeyChord> keys, string word, string meaning, int rank = 0) =>
        new(command, keys, [], word, meaning, rank) { Group = "panes and layouts" };

    private static KeyBinding Session(UiCommand command, ImmutableArray<KeyChord> keys, string word, string meaning, int rank = 0) =>
        new(command, keys, [], word, meaning, rank) { Group = "the session" };
}
