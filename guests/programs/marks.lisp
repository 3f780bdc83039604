;;; SPDX-License-Identifier: GPL-2.0
;;; Old objects get pointers to young ones, while SBCL's generational collector finds what was
;;; written, for much of it by mprotect() and page faults. An object that it overlooked has
;;; moved or is gone.

(defparameter *slots* 8192)
(defparameter *changes* 2048)
(defparameter *rounds* 200)

(defstruct cell slot generation check next)

(defun new-cell (slot generation next)
  (make-cell :slot slot :generation generation :next next
	     :check (format nil "~d/~d" slot generation)))

(defun leave (text code)
  (format t "marks: ~a~%" text)
  (finish-output)
  (sb-ext:exit :code code :abort t))

(defun check (slot first)
  (loop for cell = first then (cell-next cell) while cell
	unless (and (cell-p cell) (eql (cell-slot cell) slot)
		    (equal (cell-check cell) (format nil "~d/~d" slot (cell-generation cell))))
	do (leave (format nil "torn: slot ~d holds ~a" slot cell) 1)))

(let ((slots (make-array *slots*)) (state (make-random-state nil)))
  (dotimes (i *slots*)
    (setf (aref slots i) (new-cell i 0 nil)))
  (sb-ext:gc :full t)
  (loop for round from 1 to *rounds* do
    (dotimes (i *changes*)
      (let* ((slot (random *slots* state)) (old (aref slots slot)))
	(if (zerop (random 2 state))
	    (setf (cell-next old) (new-cell slot round nil))
	    (setf (aref slots slot) (new-cell slot round (new-cell slot round nil))))
	(make-string (random 256 state))))
    (sb-ext:gc)
    (when (zerop (mod round 20))
      (sb-ext:gc :full t)
      (dotimes (i *slots*)
	(check i (aref slots i)))))
  (leave "whole" 0))
