namespace KTrace.Tui.Update;

/// <summary>What a key can mean; <see cref="KeyMap"/> says which key means it where.</summary>
public enum UiCommand
{
    Continue,
    Step,
    Next,
    StepInstruction,
    NextInstruction,
    Finish,
    RunToCursor,
    ReverseContinue,
    ReverseStep,
    Interrupt,
    Caller,
    Callee,
    ToggleBreakpoint,
    EnableBreakpoint,
    DeleteBreakpoint,
    ShowBreakpoint,
    OpenFrame,
    ToggleArguments,
    ShowHit,
    MarkHit,
    DiffMarked,
    JumpToHit,
    Filter,
    ExpandVariable,
    CollapseVariable,
    DeleteWatch,
    Watch,
    SelectCpu,
    FollowInstruction,
    MemoryOfRegister,
    ColumnLeft,
    ColumnRight,
    AskMemory,
    ReadInterrupts,
    ToggleAllInterrupts,
    NextDifference,
    PreviousDifference,
    TypeToConsole,
    Print,
    Save,
    Export,
    Down,
    Up,
    HalfPageDown,
    HalfPageUp,
    PageDown,
    PageUp,
    First,
    Last,
    ScreenTop,
    ScreenMiddle,
    ScreenBottom,
    ScrollLeft,
    ScrollRight,
    Search,
    SearchPrevious,
    NextPane,
    PreviousPane,
    NextTab,
    PreviousTab,
    Zoom,
    Layout1,
    Layout2,
    Layout3,
    Layout4,
    Layout5,
    Layout6,
    CommandLine,
    Help,
    Back,
    Repaint,
    Suspend,
    Quit,
}

/// <summary>What must be so that a command can work.</summary>
[Flags]
public enum Needs
{
    Nothing = 0,

    /// <summary>A machine, not a trace.</summary>
    Live = 1,

    /// <summary>It stands still.</summary>
    Stopped = 2,

    /// <summary>As Stopped, but while a step is under way more of them queue up.</summary>
    Steps = 4,

    /// <summary>The session goes backwards.</summary>
    Reverse = 8,

    /// <summary>Hits' moments can be reached again.</summary>
    Jump = 16,

    /// <summary>A row is there to work on.</summary>
    Row = 32,

    /// <summary>Two hits are marked.</summary>
    TwoMarks = 64,

    /// <summary>The guest's serial line takes keys.</summary>
    Console = 128,

    /// <summary>There are hits.</summary>
    Hits = 256,

    /// <summary>The row is a place in code.</summary>
    Place = 512,

    /// <summary>A call path is shown.</summary>
    Path = 1024,

    /// <summary>The machine stands still, or runs freely: then the target stops it for the moment that a breakpoint takes.</summary>
    Breakpoints = 2048,
}
