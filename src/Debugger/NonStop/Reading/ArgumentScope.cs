namespace KTrace.Debugger.NonStop.Reading;

/// <summary>Of which frames a hit has arguments.</summary>
public enum ArgumentScope
{
    /// <summary>
    /// At stops those of every frame. Without stops those of the function that was entered, and for the first hits of a recording those of every frame, as far as registers and stack tell.
    /// </summary>
    Auto,

    /// <summary>Those of the function that was entered: without stops exact, and quick.</summary>
    Own,

    /// <summary>Those of every frame, at every hit.</summary>
    All,

    None,
}
